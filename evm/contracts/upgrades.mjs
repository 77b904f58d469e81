// What the tests of upgrades upgrade to: upgrades/<Name>V2.sol, compiled to ../artifacts/upgrades/<Name>V2.json.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { artifactsDir, compile, fail, hashOf, importedBy, readSources, sizeOf } from "./compiler.mjs";
import { incompatibilities, layoutOf, readLayout } from "./layouts.mjs";

export const UPGRADES_FOLDER = "upgrades";
const outDir = join(artifactsDir, UPGRADES_FOLDER);

function readUpgrades(sources) {
  const upgrades = readSources(UPGRADES_FOLDER);
  return Object.keys(upgrades).map((entry) => {
    const needed = importedBy(entry, { ...sources, ...upgrades });
    return { entry, contractName: basename(entry, ".sol"), sources: needed, sourcesHash: hashOf(needed) };
  });
}

function readArtifact({ contractName }) {
  const path = join(outDir, `${contractName}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
}

// Compiles what is not current and deletes what belongs to no source.
export async function writeUpgrades(sources) {
  const upgrades = readUpgrades(sources);
  mkdirSync(outDir, { recursive: true });
  for (const upgrade of upgrades) {
    const { entry, contractName, sourcesHash } = upgrade;
    if (readArtifact(upgrade).sourcesHash === sourcesHash) continue;
    console.log(`${entry}: compiling`);
    const outputs = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "storageLayout"];
    const { contracts, messages } = await compile(upgrade.sources, { [entry]: { [contractName]: outputs } });
    const ours = messages.filter(({ severity, sourceLocation }) => severity === "error" || sourceLocation?.file === entry);
    for (const message of ours) console.error(message.formattedMessage);
    if (ours.length > 0) fail(`${entry} has errors or warnings: see above`);
    const compiled = contracts[entry][contractName];
    sizeOf(entry, compiled);
    const present = readLayout(contractName.replace(/V2$/, ""));
    const faults = incompatibilities(present, layoutOf(compiled.storageLayout));
    if (faults.length > 0) fail(`${entry} cannot take over the storage:\n  ${faults.join("\n  ")}`);
    const artifact = { contractName, abi: compiled.abi, bytecode: `0x${compiled.evm.bytecode.object}`, sourcesHash };
    writeFileSync(join(outDir, `${contractName}.json`), `${JSON.stringify(artifact, null, 1)}\n`);
  }
  for (const file of surplus(upgrades)) rmSync(join(outDir, file));
}

// What a run without --check would write or delete, by hashes alone.
export function staleUpgrades(sources) {
  const upgrades = readUpgrades(sources);
  const stale = upgrades
    .filter((upgrade) => readArtifact(upgrade).sourcesHash !== upgrade.sourcesHash)
    .map(({ contractName }) => `${UPGRADES_FOLDER}/${contractName}: sourcesHash`);
  return [...stale, ...surplus(upgrades).map((file) => `${UPGRADES_FOLDER}/${file}: belongs to no source`)];
}

function surplus(upgrades) {
  const wanted = upgrades.map(({ contractName }) => `${contractName}.json`);
  return existsSync(outDir) ? readdirSync(outDir).filter((file) => !wanted.includes(file)) : [];
}
