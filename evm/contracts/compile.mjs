// Compiles src/*.sol and writes ../artifacts/<Name>.json; with --check compares instead and exits 1 naming what differs.
//
//   npm ci --ignore-scripts && node compile.mjs [--check]
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { spawnSync } from "node:child_process";

const here = dirname(fileURLToPath(import.meta.url));
const artifactsDir = join(here, "..", "artifacts");

// Deployed by the node's deployment plan, in the Rust bindings, or both.
const CONTRACTS = {
  SmartnodesERC20: "src/SmartnodesERC20.sol",
  SmartnodesCoordinator: "src/SmartnodesCoordinator.sol",
  SmartnodesCore: "src/SmartnodesCore.sol",
  SmartnodesDAO: "src/SmartnodesDAO.sol",
  TimelockController: "@openzeppelin/contracts/governance/TimelockController.sol",
  ERC1967Proxy: "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol",
};
const CODE_SIZE_MAX = 24_576;
// Few runs: the token is close to the size limit.
const SETTINGS = {
  optimizer: { enabled: true, runs: 10 },
  viaIR: true,
  evmVersion: "cancun",
  // Without the metadata hash the bytecode depends on the code alone, not on comments or paths.
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};

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

const { default: solc } = await import("solc");

const sources = {};
for (const entry of readdirSync(join(here, "src"), { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith(".sol")) continue;
  const path = join(entry.parentPath ?? entry.path, entry.name);
  sources[relative(here, path).split(sep).join("/")] = { content: readFileSync(path, "utf8") };
}
const output = JSON.parse(
  solc.compile(JSON.stringify({ language: "Solidity", sources, settings: SETTINGS }), {
    import: (path) => {
      const file = join(here, "node_modules", path);
      return existsSync(file) ? { contents: readFileSync(file, "utf8") } : { error: `${path} not found` };
    },
  }),
);
// Warnings about the libraries' own sources are theirs.
const messages = (output.errors ?? []).filter(
  ({ severity, sourceLocation }) => severity === "error" || !sourceLocation?.file.startsWith("@"),
);
for (const message of messages) console.error(message.formattedMessage);
if (messages.length > 0) fail("the compiler reported errors or warnings: see above");

const lock = readFileSync(join(here, "package-lock.json"));
const hash = createHash("sha256").update(JSON.stringify(SETTINGS)).update(lock);
for (const path of Object.keys(sources).sort()) hash.update(path).update("\0").update(sources[path].content).update("\0");
const sourcesHash = hash.digest("hex");

mkdirSync(artifactsDir, { recursive: true });
const stale = [];
for (const [contractName, source] of Object.entries(CONTRACTS)) {
  const compiled = output.contracts[source]?.[contractName];
  if (compiled === undefined) fail(`${contractName} is not in ${source}`);
  const deployed = compiled.evm.deployedBytecode.object;
  const size = deployed.length / 2;
  if (size > CODE_SIZE_MAX) fail(`${contractName} has ${size} bytes of code, ${size - CODE_SIZE_MAX} above the limit`);
  const artifact = {
    contractName,
    abi: compiled.abi,
    bytecode: `0x${compiled.evm.bytecode.object}`,
    deployedBytecode: `0x${deployed}`,
    compiler: solc.version(),
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
  const surplus = readdirSync(artifactsDir).filter((name) => !Object.keys(CONTRACTS).includes(name.replace(/\.json$/, "")));
  for (const name of surplus) stale.push(`${name}: belongs to no contract`);
}
if (stale.length > 0) fail(`artifacts differ from the sources (run \`node compile.mjs\`):\n  ${stale.join("\n  ")}`);

function fail(message) {
  console.error(`compile.mjs: ${message}`);
  process.exit(1);
}
