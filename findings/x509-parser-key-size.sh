#!/bin/sh
# x509-parser's key_size() takes the first byte of an RSA modulus for a sign byte without looking: a modulus of 2047 bits is
# 2040 bits, and one of 2048 bits is right. Of a point on a curve it knows the length alone: secp256k1 is 256 bits, as P-256
# is, and P-521 is 528. Whoever decides by it what key a certificate has must look at the curve and the modulus instead.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'END'
[package]
name = "key-size"
version = "0.0.0"
edition = "2021"

[dependencies]
x509-parser = "=0.18.1"
END
cat > src/main.rs <<'END'
use x509_parser::parse_x509_certificate;

fn main() {
    for file in std::env::args().skip(1) {
        let der = std::fs::read(&file).expect("the file can be read");
        let (_, certificate) = parse_x509_certificate(&der).expect("it is a certificate");
        let size = certificate.public_key().parsed().expect("it has a key").key_size();
        println!("{file}: {size}");
    }
}
END
self_signed() { openssl req -x509 -new -key "$1.pem" -subj /CN=test -days 1 -outform DER -out "$1"; }
for bits in 2047 2048; do
    openssl genrsa -out "rsa-$bits.pem" "$bits" 2>/dev/null
    self_signed "rsa-$bits"
done
for curve in prime256v1 secp256k1 secp521r1; do
    openssl ecparam -name "$curve" -genkey -noout -out "$curve.pem"
    self_signed "$curve"
done
cargo build --quiet
echo "x509-parser 0.18.1, $(openssl version)"
./target/debug/key-size rsa-2047 rsa-2048 prime256v1 secp256k1 secp521r1 | tee seen
cat > expected <<'END'
rsa-2047: 2040
rsa-2048: 2048
prime256v1: 256
secp256k1: 256
secp521r1: 528
END
diff expected seen
