// Compiles src/*.sol and writes ../artifacts/<Name>.json, and those of the broken variants that are not current; with
// --check compares instead and exits 1 naming what differs.
//
//   npm ci --ignore-scripts && node compile.mjs [--check]
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { spawnSync } from "node:child_process";
import { CONTRACTS, artifactsDir, compile, fail, hashOf, here, readSources, sizeOf } from "./compiler.mjs";
import { VARIANTS_FOLDER, staleVariants, writeVariants } from "./variants.mjs";

// The compiler is WebAssembly that recurses deeply on inputs of this size.
if (process.env.SMARTNODES_SOLC_STACK === undefined) {
  const child = spawnSync(process.execPath, ["--stack-size=8000", fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, SMARTNODES_SOLC_STACK: "1" },
  });
  process.exit(child.status ?? 1);
}

const unknown = process.argv.slice(2).filter((argument) => argument !== "--check");
if (unknown.length > 0) fail(`unknown argument ${unknown[0]}: the only one is --check`);
const check = process.argv.includes("--check");
if (!existsSync(join(here, "node_modules"))) fail("node_modules is missing: run `npm ci --ignore-scripts` in evm/contracts first");

const sources = readSources();
const { contracts, messages, version } = await compile(sources);
// Warnings about the libraries' own sources are theirs.
const ours = messages.filter(({ severity, sourceLocation }) => severity === "error" || !sourceLocation?.file.startsWith("@"));
for (const message of ours) console.error(message.formattedMessage);
if (ours.length > 0) fail("the compiler reported errors or warnings: see above");

const sourcesHash = hashOf(sources);
mkdirSync(artifactsDir, { recursive: true });
const stale = [];
for (const [contractName, source] of Object.entries(CONTRACTS)) {
  const compiled = contracts[source]?.[contractName];
  if (compiled === undefined) fail(`${contractName} is not in ${source}`);
  const size = sizeOf(contractName, compiled);
  const artifact = {
    contractName,
    abi: compiled.abi,
    bytecode: `0x${compiled.evm.bytecode.object}`,
    deployedBytecode: `0x${compiled.evm.deployedBytecode.object}`,
    compiler: version,
    sourcesHash,
  };
  const text = `${JSON.stringify(artifact, null, 1)}\n`;
  const file = join(artifactsDir, `${contractName}.json`);
  if (check) {
    const old = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
    const parts = Object.keys(artifact).filter((key) => JSON.stringify(old[key]) !== JSON.stringify(artifact[key]));
    if (parts.length > 0) stale.push(`${contractName}: ${parts.join(", ")}`);
  } else {
    writeFileSync(file, text);
  }
  console.log(`${contractName}: ${size} bytes`);
}
if (check) {
  const known = [...Object.keys(CONTRACTS).map((name) => `${name}.json`), VARIANTS_FOLDER];
  for (const name of readdirSync(artifactsDir).filter((name) => !known.includes(name))) stale.push(`${name}: belongs to no contract`);
  stale.push(...staleVariants(sources));
} else {
  await writeVariants(sources);
}
if (stale.length > 0) fail(`artifacts differ from the sources (run \`node compile.mjs\`):\n  ${stale.join("\n  ")}`);
