/** A zip of files that are compressed already: stored, names in UTF-8. */

import { crc32 } from "./metadata.js";

const CHUNK = 2 ** 22; // bytes read at a time
const MOST = 2 ** 32 - 1; // bytes of a zip without the 64-bit extension
const VERSION = 20, UTF8 = 1 << 11;

/**
 * @param {{name: string, blob: Blob}[]} files
 * @param {Date} time of all files
 * @returns {Promise<Blob>}
 */
export async function zip(files, time) {
  const date = ((time.getFullYear() - 1980) << 9) | ((time.getMonth() + 1) << 5) | time.getDate();
  const clock = (time.getHours() << 11) | (time.getMinutes() << 5) | (time.getSeconds() >> 1);
  const parts = [], central = [], taken = new Set();
  let offset = 0;
  for (const { name, blob } of files) {
    const encoded = new TextEncoder().encode(unique(name, taken));
    const common = [VERSION, UTF8, 0, clock, date];
    const sizes = [await crcOf(blob), blob.size, blob.size];
    const local = record([0x04034b50], common, sizes, [encoded.length, 0]);
    central.push(
      record([0x02014b50], [VERSION, ...common], sizes, [encoded.length, 0, 0, 0, 0], [0, offset]),
      encoded,
    );
    parts.push(local, encoded, blob);
    offset += local.length + encoded.length + blob.size;
  }
  const length = central.reduce((sum, each) => sum + each.length, 0);
  if (offset + length > MOST) throw new RangeError("the zip would be above 4 GB");
  const count = files.length;
  const end = record([0x06054b50], [0, 0, count, count], [length, offset], [0]);
  return new Blob([...parts, ...central, end], { type: "application/zip" });
}

/** Numbers in little-endian order: lists of 4 bytes each and of 2 bytes each in turn. */
/** @param {number[][]} lists */
function record(...lists) {
  const size = lists.reduce((sum, list, i) => sum + list.length * (i % 2 ? 2 : 4), 0);
  const data = new DataView(new ArrayBuffer(size));
  let at = 0;
  lists.forEach((list, i) => {
    for (const value of list) {
      if (i % 2) data.setUint16(at, value, true);
      else data.setUint32(at, value, true);
      at += i % 2 ? 2 : 4;
    }
  });
  return new Uint8Array(data.buffer);
}

/** @param {string} name @param {Set<string>} taken */
function unique(name, taken) {
  const dot = name.lastIndexOf(".");
  let found = name;
  for (let n = 2; taken.has(found.toLowerCase()); n++) {
    found = `${name.slice(0, dot)}-${n}${name.slice(dot)}`;
  }
  taken.add(found.toLowerCase());
  return found;
}

/** @param {Blob} blob */
async function crcOf(blob) {
  let crc = 0;
  for (let at = 0; at < blob.size; at += CHUNK) {
    crc = crc32(new Uint8Array(await blob.slice(at, at + CHUNK).arrayBuffer()), crc);
  }
  return crc;
}
