// go run client.go HTTP-PORT HTTPS-PORT CA: what Go's client gets of the gateway, a line each.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
)

func call(client *http.Client, method, url string, body []byte) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	response, err := client.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	length, err := io.Copy(io.Discard, response.Body)
	if err != nil {
		panic(err)
	}
	fmt.Println(method, response.ProtoMajor, response.StatusCode, length)
}

func main() {
	pem, err := os.ReadFile(os.Args[3])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	upload := bytes.Repeat([]byte("u"), 100_000)
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}
		client := &http.Client{Transport: transport}
		urls := []string{"https://localhost:" + os.Args[2]}
		if !http2 {
			urls = append(urls, "http://localhost:"+os.Args[1])
		}
		for _, url := range urls {
			call(client, "GET", url+"/-/bytes/70000", nil)
			call(client, "POST", url+"/-/echo", upload)
		}
	}
}
