"""python3 client_grpc.py HTTP-PORT HTTPS-PORT CA: what grpcio gets of the gateway, a line each."""
import sys

import grpc


def line(text):
    return bytes([10, len(text)]) + text.encode()


def status(call):
    try:
        return call()[2:].decode()
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"


def other(authority):
    """Of a host that is not served: the gateway answers itself."""
    with grpc.insecure_channel(f"localhost:{plain}", [("grpc.default_authority", authority)]) as channel:
        return status(lambda: channel.unary_unary("/test.Chat/Say")(line("hello")))


plain, tls, ca = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read()
for channel in [
    grpc.insecure_channel(f"localhost:{plain}"),
    grpc.secure_channel(f"localhost:{tls}", grpc.ssl_channel_credentials(ca)),
]:
    with channel:
        say = channel.unary_unary("/test.Chat/Say")
        print(status(lambda: say(line("hello"))))
        print(status(lambda: say(line("fail"))))
        talk = channel.stream_stream("/test.Chat/Talk")
        answers = sum(1 for _ in talk(line("hello") for _ in range(2_000)))
        print(answers)
print(other("nobody.test"))
print(other("empty.test"))
