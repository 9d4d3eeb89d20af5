// The licence of every package in a bundle, from esbuild's list of what went into it, on standard output.
const fs = require("node:fs");
const path = require("node:path");

const inputs = Object.keys(JSON.parse(fs.readFileSync(process.argv[2], "utf8")).inputs);
const folders = inputs.map((each) => each.match(/^node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0]).filter(Boolean);
const packages = new Map(); // by the text of their licence

for (const folder of [...new Set(folders)].sort()) {
  const about = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
  const file = fs.readdirSync(folder).find((name) => /^licen[sc]e/i.test(name));
  const text = file ? fs.readFileSync(path.join(folder, file), "utf8").trim() : about.license;
  packages.set(text, [...(packages.get(text) ?? []), `${about.name} ${about.version}`]);
}
const parts = Array.from(packages, ([text, names]) => `${names.join(", ")}:\n\n${text}\n`);
process.stdout.write(parts.join(`\n${"-".repeat(80)}\n\n`));
