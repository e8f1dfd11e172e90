// A shell by npm's ssm-session: standard input and output are the terminal.
const WebSocket = require("ws");
const { ssm } = require("ssm-session");

const [rows, cols] = process.env.SIZE.split(" ").map(Number);
let opened; // when
let shown = false;
const socket = new WebSocket(process.env.STREAM_URL);
socket.binaryType = "arraybuffer";
socket.onopen = () => {
  opened = Date.now();
  ssm.init(socket, { token: process.env.TOKEN, termOptions: { rows, cols } });
};
socket.onmessage = (event) => {
  const m = ssm.decode(event.data);
  if (m.messageType.includes("channel_closed")) {
    socket.close();
    return;
  }
  ssm.sendACK(socket, m);
  if (m.payloadType === 1 && !shown) {
    shown = true;
    console.error(`[first output after ${Date.now() - opened} ms]`);
  }
  if (m.payloadType === 1) process.stdout.write(Buffer.from(m.payload));
};
socket.onclose = () => process.exit(0);
socket.onerror = (e) => {
  console.error(e.message);
  process.exit(1);
};
process.stdin.on("data", (b) => ssm.sendText(socket, new Uint8Array(b)));
