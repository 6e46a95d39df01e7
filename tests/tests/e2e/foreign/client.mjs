// node client.mjs HTTP-PORT HTTPS-PORT CA: what Node's three clients get of the gateway, a line each.
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";

const [plain, tls, ca] = [process.argv[2], process.argv[3], readFileSync(process.argv[4])];
const upload = Buffer.alloc(100_000, "u");

const call = (library, options, body) => new Promise((resolve, reject) => {
  const request = library.request({ host: "localhost", ...options }, (response) => {
    let length = 0;
    response.on("data", (data) => { length += data.length; });
    response.on("end", () => resolve(`${response.httpVersion} ${response.statusCode} ${length}`));
  });
  request.on("error", reject);
  request.end(body);
});

const agent = new https.Agent({ keepAlive: true });
for (const [library, port, more] of [[http, plain, {}], [https, tls, { ca, agent }]]) {
  console.log("GET", await call(library, { port, path: "/-/bytes/70000", ...more }));
  console.log("POST", await call(library, { port, path: "/-/echo", method: "POST", ...more }, upload));
}
agent.destroy();

const session = http2.connect(`https://localhost:${tls}`, { ca });
const stream = (headers, body) => new Promise((resolve, reject) => {
  const request = session.request(headers);
  let status, length = 0;
  request.on("response", (fields) => { status = fields[":status"]; });
  request.on("data", (data) => { length += data.length; });
  request.on("end", () => resolve(`2 ${status} ${length}`));
  request.on("error", reject);
  request.end(body);
});
console.log("GET", await stream({ ":path": "/-/bytes/70000" }));
console.log("POST", await stream({ ":path": "/-/echo", ":method": "POST" }, upload));
session.close();
