// Compiles src/*.sol and writes ../artifacts/<Name>.json with the storage layouts, and those of the tests' upgrades and
// broken variants that are not current; with --check compares instead and exits 1 naming what differs.
//
//   npm ci --ignore-scripts && node compile.mjs [--check]
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { spawnSync } from "node:child_process";
import { CONTRACTS, SETTINGS, artifactsDir, compile, fail, hashOf, here, readSources, sizeOf } from "./compiler.mjs";
import { LAYOUTS, STORAGE_FOLDER, appended, incompatibilities, layoutOf, layoutPath, readLayout } from "./layouts.mjs";
import { UPGRADES_FOLDER, staleUpgrades, writeUpgrades } from "./upgrades.mjs";
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
const outputs = { "*": { "*": [...SETTINGS.outputSelection["*"]["*"], "storageLayout"] } };
const { contracts, messages, version } = await compile(sources, outputs);
// Warnings about the libraries' own sources are theirs.
const ours = messages.filter(({ severity, sourceLocation }) => severity === "error" || !sourceLocation?.file.startsWith("@"));
for (const message of ours) console.error(message.formattedMessage);
if (ours.length > 0) fail("the compiler reported errors or warnings: see above");

const sourcesHash = hashOf(sources);
mkdirSync(join(artifactsDir, STORAGE_FOLDER), { recursive: true });
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
  if (contractName in LAYOUTS) compareLayout(contractName, layoutOf(compiled.storageLayout));
}
if (check) {
  const known = [...Object.keys(CONTRACTS).map((name) => `${name}.json`), VARIANTS_FOLDER, UPGRADES_FOLDER, STORAGE_FOLDER];
  for (const name of readdirSync(artifactsDir).filter((name) => !known.includes(name))) stale.push(`${name}: belongs to no contract`);
  stale.push(...staleUpgrades(sources), ...staleVariants(sources));
} else {
  await writeUpgrades(sources);
  await writeVariants(sources);
}
if (stale.length > 0) fail(`artifacts differ from the sources (run \`node compile.mjs\`):\n  ${stale.join("\n  ")}`);

// Writes a layout, or notes that it differs; stops where a contract behind a proxy could not be upgraded to it.
function compareLayout(name, layout) {
  const old = readLayout(name);
  const faults = LAYOUTS[name] ? incompatibilities(old, layout) : [];
  if (faults.length > 0) {
    fail(
      `${name} cannot take over the storage of what is deployed (append variables only; where nothing is deployed, ` +
        `delete ${layoutPath(name)} and compile again):\n  ${faults.join("\n  ")}`,
    );
  }
  if (JSON.stringify(old) === JSON.stringify(layout)) return;
  if (check) stale.push(`${STORAGE_FOLDER}/${name}: ${appended(old, layout).join(", ") || "structs"}`);
  else writeFileSync(layoutPath(name), `${JSON.stringify(layout, null, 1)}\n`);
}
