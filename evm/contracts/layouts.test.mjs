// node --test
import assert from "node:assert/strict";
import { test } from "node:test";
import { appended, incompatibilities, layoutOf } from "./layouts.mjs";

const layout = () => ({
  variables: [
    { slot: 0, offset: 0, name: "owner", type: "address" },
    { slot: 0, offset: 20, name: "open", type: "bool" },
    { slot: 1, offset: 0, name: "jobs", type: "mapping(bytes32 => struct Core.Job)" },
    { slot: 2, offset: 0, name: "networks", type: "struct Core.Network[]" },
  ],
  structs: {
    "struct Core.Job": [{ slot: 0, offset: 0, name: "payment", type: "uint128" }],
    "struct Core.Network": [{ slot: 0, offset: 0, name: "name", type: "string" }],
  },
});
const changed = (change) => {
  const next = layout();
  change(next);
  return incompatibilities(layout(), next);
};
const more = { slot: 0, offset: 16, name: "more", type: "bool" };

test("what is appended is compatible", () => {
  assert.deepEqual(changed(() => {}), []);
  const next = layout();
  next.variables.push({ slot: 3, offset: 0, name: "limit", type: "uint256" });
  assert.deepEqual(incompatibilities(layout(), next), []);
  assert.deepEqual(appended(layout(), next), ["limit"]);
  assert.deepEqual(changed((next) => next.structs["struct Core.Job"].push(more)), []);
});

test("what moves, changes its type or goes is not", () => {
  assert.match(changed((next) => next.variables.pop())[0], /networks .* is gone/);
  assert.match(changed((next) => (next.variables[1].type = "uint8"))[0], /open .*bool\) became open .*uint8/);
  assert.match(changed((next) => (next.variables[1].offset = 21))[0], /byte 20.* became .*byte 21/);
  assert.match(changed((next) => (next.variables[0].name = "other"))[0], /owner .* became other/);
  assert.equal(changed((next) => next.variables.unshift(more)).length, 4);
  assert.match(changed((next) => (next.structs["struct Core.Job"][0].type = "uint80"))[0], /^struct Core.Job: payment/);
});

test("a struct in an array does not grow", () => {
  assert.match(changed((next) => next.structs["struct Core.Network"].push(more))[0], /more would move/);
});

test("the compiler's numbers are left out", () => {
  const storage = [{ label: "job", slot: "4", offset: 0, type: "t_struct(Job)17_storage", astId: 9, contract: "c" }];
  const types = {
    "t_struct(Job)17_storage": { label: "struct Core.Job", members: [{ label: "payment", slot: "0", offset: 0, type: "t_uint128" }] },
    t_uint128: { label: "uint128" },
  };
  assert.deepEqual(layoutOf({ storage, types }), {
    variables: [{ slot: 4, offset: 0, name: "job", type: "struct Core.Job" }],
    structs: { "struct Core.Job": [{ slot: 0, offset: 0, name: "payment", type: "uint128" }] },
  });
});
