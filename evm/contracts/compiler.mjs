// The compiler, its settings, and the sources that it is given.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
export const artifactsDir = join(here, "..", "artifacts");

// Deployed by the node's deployment plan, in the Rust bindings, or both.
export const CONTRACTS = {
  SmartnodesERC20: "src/SmartnodesERC20.sol",
  SmartnodesCoordinator: "src/SmartnodesCoordinator.sol",
  SmartnodesCore: "src/SmartnodesCore.sol",
  SmartnodesDAO: "src/SmartnodesDAO.sol",
  SmartnodesTimelock: "src/SmartnodesTimelock.sol",
  ERC1967Proxy: "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol",
};
const CODE_SIZE_MAX = 24_576;
// Few runs: the token is close to the size limit.
export const SETTINGS = {
  optimizer: { enabled: true, runs: 10 },
  viaIR: true,
  evmVersion: "cancun",
  // Without the metadata hash the bytecode depends on the code alone, not on comments or paths.
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};

// Every source in a folder, text by path.
export function readSources(folder = "src") {
  const sources = {};
  for (const entry of readdirSync(join(here, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".sol")) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    sources[relative(here, path).split(sep).join("/")] = readFileSync(path, "utf8");
  }
  return sources;
}

// Those of `sources` that the file `entry` imports, directly or not, and itself. The libraries are in the lock file.
export function importedBy(entry, sources) {
  const found = {};
  const open = [entry];
  while (open.length > 0) {
    const path = open.pop();
    if (path in found || !(path in sources)) continue;
    found[path] = sources[path];
    for (const [, imported] of sources[path].matchAll(/^\s*import\b[^;]*?"([^"]+)";/gm)) {
      if (imported.startsWith(".")) open.push(posix.join(posix.dirname(path), imported));
    }
  }
  return found;
}

// What the bytecode depends on: settings, libraries and compiler (the lock file), and these sources.
export function hashOf(sources) {
  const hash = createHash("sha256").update(JSON.stringify(SETTINGS)).update(readFileSync(join(here, "package-lock.json")));
  for (const path of Object.keys(sources).sort()) hash.update(path).update("\0").update(sources[path]).update("\0");
  return hash.digest("hex");
}

// Compiles with these settings; returns the contracts by source and the compiler's version, or the messages.
export async function compile(sources, outputSelection = SETTINGS.outputSelection) {
  const { default: solc } = await import("solc");
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(Object.entries(sources).map(([path, content]) => [path, { content }])),
    settings: { ...SETTINGS, outputSelection },
  };
  const output = JSON.parse(
    solc.compile(JSON.stringify(input), {
      import: (path) => {
        const file = join(here, "node_modules", path);
        return existsSync(file) ? { contents: readFileSync(file, "utf8") } : { error: `${path} not found` };
      },
    }),
  );
  return { contracts: output.contracts ?? {}, messages: output.errors ?? [], version: solc.version() };
}

// Bytes of the code that is deployed; fails above the EVM's limit.
export function sizeOf(name, compiled) {
  const size = compiled.evm.deployedBytecode.object.length / 2;
  if (size > CODE_SIZE_MAX) fail(`${name} has ${size} bytes of code, ${size - CODE_SIZE_MAX} above the limit`);
  return size;
}

export function fail(message) {
  console.error(`compile.mjs: ${message}`);
  process.exit(1);
}
