// Loaded before Azurite. Whoever started it holds the other end of stdin and never writes: stdin
// ends when that process does, however it died, and Azurite must not outlive it.
function end() {
  // Azurite writes what it keeps in a folder, and closes its ports. Nobody waits long for that.
  process.emit("SIGTERM");
  setTimeout(() => process.exit(0), 2000).unref();
}
process.stdin.on("error", end);
process.stdin.on("end", end);
process.stdin.resume();
