// Where the contracts' variables are in storage: ../artifacts/storage/<Name>.json. An upgrade reads what the code before
// it wrote, so a variable may be appended, but none may move, change its type or go.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { artifactsDir } from "./compiler.mjs";

export const STORAGE_FOLDER = "storage";

// The contracts behind proxies, and the token, which cannot be upgraded, for information.
export const LAYOUTS = { SmartnodesCore: true, SmartnodesCoordinator: true, SmartnodesERC20: false };

export function layoutPath(name) {
  return join(artifactsDir, STORAGE_FOLDER, `${name}.json`);
}

export function readLayout(name) {
  return existsSync(layoutPath(name)) ? JSON.parse(readFileSync(layoutPath(name), "utf8")) : { variables: [], structs: {} };
}

// The compiler's storageLayout without the numbers that it gives to types anew each time.
export function layoutOf({ storage, types }) {
  const place = ({ label, slot, offset, type }) => ({ slot: Number(slot), offset, name: label, type: types[type].label });
  const structs = {};
  for (const { label, members } of Object.values(types ?? {})) {
    if (members !== undefined) structs[label] = members.map(place);
  }
  const sorted = Object.fromEntries(Object.entries(structs).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { variables: storage.map(place), structs: sorted };
}

// Why a contract with the layout `next` cannot take over the storage of one with `old`: nothing if variables were only
// appended.
export function incompatibilities(old, next) {
  const faults = compare("", old.variables, next.variables);
  for (const [name, members] of Object.entries(old.structs)) {
    const now = next.structs[name];
    if (now === undefined) continue;
    faults.push(...compare(`${name}: `, members, now));
    if (now.length > members.length && isInline(name, old)) {
      faults.push(`${name}: ${now[members.length].name} would move what comes behind the struct`);
    }
  }
  return faults;
}

// Variables of `next` that `old` does not have.
export function appended(old, next) {
  return next.variables.slice(old.variables.length).map(({ name }) => name);
}

function compare(where, old, next) {
  const text = ({ slot, offset, type }) => `slot ${slot}, byte ${offset}, ${type}`;
  return old.flatMap((variable, index) => {
    const now = next[index];
    if (now === undefined) return [`${where}${variable.name} (${text(variable)}) is gone`];
    if (text(now) === text(variable) && now.name === variable.name) return [];
    return [`${where}${variable.name} (${text(variable)}) became ${now.name} (${text(now)})`];
  });
}

// Whether a struct lies anywhere but alone behind a mapping's key.
function isInline(name, { variables, structs }) {
  const inline = ({ type }) => type === name || type.includes(`${name}[`);
  return [variables, ...Object.values(structs)].some((places) => places.some(inline));
}
