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

// What is in no blob any more is swept out every ten minutes, each piece with an index over all pieces made anew: after
// thousands of writes Azurite answers nobody for minutes. Nothing here lives long enough to need that.
const A_DAY = 24 * 60 * 60 * 1000;
for (const service of ["blob", "queue"]) {
  require(`azurite/dist/src/${service}/utils/constants`).DEFAULT_GC_INTERVAL_MS = A_DAY;
}
