// Deliberately broken variants of the contracts, against which the tests show that each attack of the known flaws
// could succeed: variants/f01.json says which lines are changed, ../artifacts/variants/f01.json is the outcome.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CONTRACTS, artifactsDir, compile, fail, hashOf, here, importedBy, sizeOf } from "./compiler.mjs";

export const VARIANTS_FOLDER = "variants";
const outDir = join(artifactsDir, VARIANTS_FOLDER);
const KEYS = ["flaw", "contract", "breaks", "changes"];

// The variants as they should be, each with the sources that it is made from.
function readVariants(sources) {
  const folder = join(here, VARIANTS_FOLDER);
  const files = readdirSync(folder).sort();
  return files.map((file) => {
    const at = `${VARIANTS_FOLDER}/${file}`;
    const variant = JSON.parse(readFileSync(join(folder, file), "utf8"));
    const name = file.match(/^(f\d\d)[b-z]?\.json$/)?.[1];
    if (name === undefined) fail(`${at}: name it after its flaw, f01.json, and a second one f01b.json`);
    if (Object.keys(variant).join() !== KEYS.join()) fail(`${at}: it must have the keys ${KEYS.join(", ")}`);
    if (variant.flaw.toLowerCase() !== name) fail(`${at}: its flaw is ${variant.flaw}, its name says ${name}`);
    const entry = CONTRACTS[variant.contract];
    if (!entry?.startsWith("src/")) fail(`${at}: ${variant.contract} is not one of our contracts`);
    const mutated = importedBy(entry, sources);
    for (const { file: changed, from, to } of variant.changes) {
      if (!(changed in mutated)) fail(`${at}: ${variant.contract} does not import ${changed}`);
      const parts = mutated[changed].split(from);
      if (parts.length !== 2) fail(`${at}: "${from}" occurs ${parts.length - 1} times in ${changed}, not once`);
      mutated[changed] = parts.join(to);
    }
    return { file, contract: variant.contract, breaks: variant.breaks, entry, sources: mutated, sourcesHash: hashOf(mutated) };
  });
}

function readArtifact(file) {
  const path = join(outDir, file);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
}

// Compiles what is not current and deletes what is no variant's.
export async function writeVariants(sources) {
  const variants = readVariants(sources);
  mkdirSync(outDir, { recursive: true });
  for (const [at, variant] of variants.entries()) {
    const { file, contract, breaks, entry, sourcesHash } = variant;
    const old = readArtifact(file);
    let { bytecode } = old;
    if (old.sourcesHash !== sourcesHash || old.contract !== contract) {
      console.log(`variant ${at + 1} of ${variants.length}, ${file}: compiling`);
      const selection = { [entry]: { [contract]: ["evm.bytecode.object", "evm.deployedBytecode.object"] } };
      const { contracts, messages } = await compile(variant.sources, selection);
      // A line that was taken out leaves warnings behind, of a name that is used no more.
      const errors = messages.filter(({ severity }) => severity === "error");
      for (const error of errors) console.error(error.formattedMessage);
      if (errors.length > 0) fail(`${VARIANTS_FOLDER}/${file} does not compile: see above`);
      const compiled = contracts[entry][contract];
      sizeOf(`${VARIANTS_FOLDER}/${file}`, compiled);
      bytecode = `0x${compiled.evm.bytecode.object}`;
      const real = JSON.parse(readFileSync(join(artifactsDir, `${contract}.json`), "utf8"));
      if (bytecode === real.bytecode) fail(`${VARIANTS_FOLDER}/${file} changes nothing in ${contract}`);
    }
    writeFileSync(join(outDir, file), `${JSON.stringify({ contract, breaks, bytecode, sourcesHash }, null, 1)}\n`);
  }
  for (const file of surplus(variants)) rmSync(join(outDir, file));
}

// What a run without --check would write or delete. By hashes alone: compiling all variants takes minutes.
export function staleVariants(sources) {
  const variants = readVariants(sources);
  const stale = [];
  for (const variant of variants) {
    const old = readArtifact(variant.file);
    const parts = ["contract", "breaks", "sourcesHash"].filter((key) => old[key] !== variant[key]);
    if (parts.length > 0) stale.push(`${VARIANTS_FOLDER}/${variant.file}: ${parts.join(", ")}`);
  }
  for (const file of surplus(variants)) stale.push(`${VARIANTS_FOLDER}/${file}: belongs to no variant`);
  return stale;
}

function surplus(variants) {
  const wanted = variants.map(({ file }) => file);
  return existsSync(outDir) ? readdirSync(outDir).filter((file) => !wanted.includes(file)) : [];
}
