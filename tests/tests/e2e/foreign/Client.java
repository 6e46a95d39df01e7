// java Client.java HTTP-PORT HTTPS-PORT CA: what Java's HttpClient gets of the gateway, a line each.
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    static void call(HttpClient client, String method, String uri, byte[] body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(uri)).method(method, BodyPublishers.ofByteArray(body)).build();
        var response = client.send(request, BodyHandlers.ofByteArray());
        System.out.println(method + " " + response.version() + " " + response.statusCode() + " " + response.body().length);
    }

    public static void main(String[] arguments) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = new FileInputStream(arguments[2])) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        var upload = "u".repeat(100_000).getBytes();
        for (var version : new Version[] {Version.HTTP_1_1, Version.HTTP_2}) {
            var client = HttpClient.newBuilder().version(version).sslContext(context).build();
            // HTTP_2 offers `Upgrade: h2c` with each request on the plain port.
            for (var base : new String[] {"http://localhost:" + arguments[0], "https://localhost:" + arguments[1]}) {
                call(client, "GET", base + "/-/bytes/70000", new byte[0]);
                call(client, "POST", base + "/-/echo", upload);
            }
        }
    }
}
