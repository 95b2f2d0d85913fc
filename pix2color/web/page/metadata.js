/**
 * Sizes and metadata of image files: read from the source, put into what the browser encodes.
 *
 * EXIF is edited in place, as by pix2color/photo/exif.py, so that maker notes stay whole.
 */

/**
 * @typedef {{exif: Uint8Array | null, segments: Uint8Array[], density: Uint8Array | null}} Metadata
 *   exif: a TIFF block; segments: of a JPEG, with their markers; density: of JFIF
 */

const ORIENTATION = 0x0112, SOFTWARE = 0x0131, ASCII = 2, SHORT = 3;
const MAX_SEGMENT = 65533; // bytes of a JPEG segment's content
const NAME = "colors predicted by pix2color";

/** @param {Uint8Array} bytes */
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @param {Uint8Array} bytes @param {number} at @param {string} text */
function startsWith(bytes, at, text) {
  return [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
}

/** @param {string} text */
const latin = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

/** @param {Uint8Array[]} parts */
function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * The kind and size that a file's header states; null where it is none of JPEG, PNG and WebP.
 *
 * @param {Uint8Array} bytes
 * @returns {{kind: "JPEG" | "PNG" | "WEBP", width: number, height: number} | null}
 */
export function imageSize(bytes) {
  const data = view(bytes);
  if (startsWith(bytes, 0, "\x89PNG") && bytes.length > 24) {
    return { kind: "PNG", width: data.getUint32(16), height: data.getUint32(20) };
  }
  if (startsWith(bytes, 0, "RIFF") && startsWith(bytes, 8, "WEBP") && bytes.length > 30) {
    if (startsWith(bytes, 12, "VP8X")) {
      const size = [24, 27].map((at) => 1 + data.getUint16(at, true) + (bytes[at + 2] << 16));
      return { kind: "WEBP", width: size[0], height: size[1] };
    }
    if (startsWith(bytes, 12, "VP8L")) {
      const bits = data.getUint32(21, true);
      return { kind: "WEBP", width: 1 + (bits & 16383), height: 1 + ((bits >> 14) & 16383) };
    }
    const size = [26, 28].map((at) => data.getUint16(at, true) & 16383);
    return { kind: "WEBP", width: size[0], height: size[1] };
  }
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
  for (const { marker, start, end } of jpegSegments(bytes)) {
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && end >= start + 5) {
      return { kind: "JPEG", width: data.getUint16(start + 3), height: data.getUint16(start + 1) };
    }
  }
  return { kind: "JPEG", width: 0, height: 0 };
}

/**
 * The segments before a JPEG's pixels; start and end are of their contents.
 *
 * @param {Uint8Array} bytes
 */
function* jpegSegments(bytes) {
  const data = view(bytes);
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1];
    if (marker === 0xda || marker === 0xd9) return;
    if (marker === 0xff || marker === 0x01) {
      at += 1 + Number(marker === 0x01);
      continue;
    }
    const end = Math.min(bytes.length, at + 2 + data.getUint16(at + 2));
    yield { marker, start: at + 4, end };
    at = end;
  }
}

/** @param {Uint8Array} bytes */
function* pngChunks(bytes) {
  const data = view(bytes);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = data.getUint32(at), end = at + 12 + length;
    if (end > bytes.length) return;
    yield { kind: String.fromCharCode(...bytes.subarray(at + 4, at + 8)), at, end };
    at = end;
  }
}

/** @param {Uint8Array} bytes @returns {Metadata} */
export function readMetadata(bytes) {
  /** @type {Metadata} */
  const found = { exif: null, segments: [], density: null };
  const kind = imageSize(bytes)?.kind;
  if (kind === "JPEG") {
    for (const { marker, start, end } of jpegSegments(bytes)) {
      if (marker === 0xe1 && startsWith(bytes, start, "Exif\0\0")) {
        found.exif ??= bytes.slice(start + 6, end);
      } else if (marker === 0xe0 && startsWith(bytes, start, "JFIF\0")) {
        found.density = bytes.slice(start + 7, start + 12);
      } else if ([0xe1, 0xed, 0xfe].includes(marker)) {
        found.segments.push(bytes.slice(start - 4, end));
      }
    }
  } else if (kind === "PNG") {
    for (const { kind: name, at, end } of pngChunks(bytes)) {
      if (name === "eXIf") found.exif = bytes.slice(at + 8, end - 4);
    }
  } else if (kind === "WEBP") {
    const data = view(bytes);
    for (let at = 12; at + 8 <= bytes.length; ) {
      const length = data.getUint32(at + 4, true);
      const start = startsWith(bytes, at + 8, "Exif\0\0") ? at + 14 : at + 8;
      if (startsWith(bytes, at, "EXIF")) found.exif = bytes.slice(start, at + 8 + length);
      at += 8 + length + (length % 2);
    }
  }
  return found;
}

/**
 * A JPEG or PNG of the browser with the metadata of its source and a note on its colors.
 *
 * @param {Uint8Array} encoded
 * @param {Metadata} metadata
 * @param {string} provenance what predicted the colors
 */
export function withMetadata(encoded, metadata, provenance) {
  const turned = metadata.exif !== null && exifOrientation(metadata.exif) !== 1;
  const exif = updateExif(metadata.exif, `${NAME} ${provenance}`);
  if (encoded[0] === 0x89) {
    const chunk = pngChunk("eXIf", exif);
    const header = 8 + 12 + view(encoded).getUint32(8);
    return join([encoded.subarray(0, header), chunk, encoded.subarray(header)]);
  }
  /** @type {Uint8Array[]} */
  const parts = [latin("\xff\xd8")];
  let rest = 2;
  for (const { marker, start, end } of jpegSegments(encoded)) {
    if (marker !== 0xe0) break;
    const own = encoded.slice(start - 4, end);
    if (metadata.density && !turned && startsWith(encoded, start, "JFIF\0")) {
      own.set(metadata.density, 4 + 7);
    }
    parts.push(own);
    rest = end;
  }
  if (exif.length + 8 <= MAX_SEGMENT) parts.push(segment(0xe1, join([latin("Exif\0\0"), exif])));
  for (const each of metadata.segments) parts.push(turned ? uprightXmp(each) : each);
  return join([...parts, encoded.subarray(rest)]);
}

/** @param {number} marker @param {Uint8Array} content */
function segment(marker, content) {
  const length = content.length + 2;
  return join([Uint8Array.of(0xff, marker, length >> 8, length & 255), content]);
}

/** tiff:Orientation of an XMP segment set to 1: the browser has turned the pixels. */
/** @param {Uint8Array} bytes */
function uprightXmp(bytes) {
  if (!startsWith(bytes, 4, "http://ns.adobe.com/xap/1.0/\0")) return bytes;
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return latin(text.replace(/(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]/g, "$11"));
}

/**
 * The first directory of a TIFF block; null where it is none.
 *
 * @param {Uint8Array} block
 */
function directory(block) {
  const little = startsWith(block, 0, "II*\0");
  if ((!little && !startsWith(block, 0, "MM\0*")) || block.length < 8) return null;
  const data = view(block), start = data.getUint32(4, little);
  if (start < 8 || start > block.length - 2) return null;
  const count = data.getUint16(start, little);
  if (start + 2 + 12 * count > block.length) return null;
  /** @type {Map<number, Uint8Array>} */
  const entries = new Map();
  for (let at = start + 2; at < start + 2 + 12 * count; at += 12) {
    entries.set(data.getUint16(at, little), block.slice(at, at + 12));
  }
  return { little, start, count, entries };
}

/** @param {Uint8Array} block */
function exifOrientation(block) {
  const found = directory(block), entry = found?.entries.get(ORIENTATION);
  if (!found || !entry || view(entry).getUint16(2, found.little) !== SHORT) return 1;
  const value = view(entry).getUint16(8, found.little);
  return value >= 1 && value <= 8 ? value : 1;
}

/**
 * A block that says that the photo is upright and what colored it; all other values keep their
 * places. The link to the thumbnail, which is gray, is dropped.
 *
 * @param {Uint8Array | null} block
 * @param {string} software
 */
export function updateExif(block, software) {
  const found = block && directory(block);
  if (!block || !found) {
    block = latin("II*\0\x08\0\0\0");
  }
  const { little, start: old, count, entries } = found ||
    { little: true, start: 0, count: -1, entries: new Map() };
  const before = softwareOf(block, entries.get(SOFTWARE), little);
  const others = before.split(" | ").filter((part) => part && !part.startsWith(NAME));
  const text = new TextEncoder().encode([software, ...others].join(" | ") + "\0");
  const size = entries.size + Number(!entries.has(SOFTWARE));
  const length = 2 + 12 * size + 4, end = block.length + (block.length % 2);
  const inPlace = size === count && old + length <= block.length;
  const start = inPlace ? old : end, textAt = inPlace ? end : end + length;
  if (entries.has(ORIENTATION)) entries.set(ORIENTATION, entry(ORIENTATION, SHORT, 1, 1, little));
  entries.set(SOFTWARE, entry(SOFTWARE, ASCII, text.length, textAt, little));
  const edited = new Uint8Array(textAt + text.length), data = view(edited);
  edited.set(block);
  data.setUint32(4, start, little);
  data.setUint16(start, size, little);
  const sorted = [...entries.keys()].sort((a, b) => a - b);
  sorted.forEach((tag, i) => edited.set(entries.get(tag) ?? [], start + 2 + 12 * i));
  data.setUint32(start + length - 4, 0, little);
  edited.set(text, textAt);
  return edited;
}

/**
 * @param {number} tag
 * @param {number} kind
 * @param {number} count
 * @param {number} value
 * @param {boolean} little
 */
function entry(tag, kind, count, value, little) {
  const bytes = new Uint8Array(12), data = view(bytes);
  data.setUint16(0, tag, little);
  data.setUint16(2, kind, little);
  data.setUint32(4, count, little);
  if (kind === SHORT) data.setUint16(8, value, little);
  else data.setUint32(8, value, little);
  return bytes;
}

/** @param {Uint8Array} block @param {Uint8Array | undefined} own @param {boolean} little */
function softwareOf(block, own, little) {
  if (!own) return "";
  const count = view(own).getUint32(4, little), at = view(own).getUint32(8, little);
  const bytes = count <= 4 ? own.subarray(8, 8 + count) : block.subarray(at, at + count);
  return new TextDecoder().decode(bytes).replace(/\0+$/, "");
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** CRC-32 of bytes, or of bytes after others. @param {Uint8Array} bytes @param {number} [before] */
export function crc32(bytes, before = 0) {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {string} kind @param {Uint8Array} content */
function pngChunk(kind, content) {
  const chunk = join([new Uint8Array(4), latin(kind), content, new Uint8Array(4)]);
  view(chunk).setUint32(0, content.length);
  view(chunk).setUint32(chunk.length - 4, crc32(chunk.subarray(4, -4)));
  return chunk;
}
