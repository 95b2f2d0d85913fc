/**
 * All texts of the page. To translate it, add a table of your language beside `en`; what it lacks
 * is shown in English. Names in braces are filled in.
 */

/** @type {Record<string, Record<string, string>>} */
export const TEXTS = {
  en: {
    title: "Color old photos",
    lead: "Everything happens in this browser. Your photos never leave this device.",
    guess: "The colors are guesses: a network cannot know what color things were.",
    drop: "Drop photos here",
    choose: "Choose photos",
    formats: "JPEG, PNG or WebP, up to 100 megapixels each",
    add: "Add photos",
    clear: "Start over",
    photos: "Photos",
    compare: "Before and after",
    before: "Before",
    after: "After",
    beforeAlt: "{name} in gray",
    afterAlt: "{name} in color",
    divider: "Divider between before and after",
    settings: "Colors",
    preset: "Preset",
    natural: "Natural",
    faithful: "Faithful",
    temperature: "Temperature",
    temperatureHelp: "low: decided colors; high: cautious ones",
    vividness: "Vividness",
    vividnessHelp: "0: probable colors; high: rarer ones",
    saturation: "Saturation",
    saturationHelp: "0: gray; 1: as predicted",
    calibration: "Calibration",
    calibrationHelp: "0: as predicted; 1: as colorful as photos are",
    toAll: "Use for all photos",
    hints: "Hints",
    hintsHelp: "Pick a color and press where it belongs: it spreads to what looks alike.",
    hintsKeys:
      "Keyboard: focus the photo, move the cross with the arrow keys (Shift: further), press Enter.",
    hintColor: "Color",
    placeHints: "Place hints",
    placing: "Photo: press, or use the arrow keys and Enter, to place a hint",
    undo: "Undo",
    removeHints: "Remove all",
    hintCount: "Hints: {count}",
    format: "Format",
    jpeg: "JPEG",
    png: "PNG",
    download: "Download",
    downloadAll: "Download all (zip)",
    cancel: "Cancel",
    progress: "Progress",
    loading: "Loading the network, once: {percent} of {size} MB",
    preparing: "Preparing the network …",
    ready: "Ready. From now on the page works without a network connection.",
    readyHere: "Ready.",
    coloring: "Coloring {name} …",
    coloringSome: "Coloring {name} ({done} of {total}) …",
    colored: "{name}: {width} × {height} pixels, colored.",
    someFailed: "Colored: {colored}. Not colored: {failed}. The reason stands in place of the picture.",
    saving: "Writing {name} …",
    savingSome: "Writing {name} ({done} of {total}) …",
    saved: "{name} is saved.",
    cancelled: "Cancelled.",
    waiting: "waiting",
    done: "colored",
    failedShort: "failed",
    show: "Show {name} ({state})",
    failed: "{name}: {reason}",
    empty: "the file is empty",
    unknown: "not a photo that this browser can show; use JPEG, PNG or WebP",
    broken: "the file is damaged",
    tooLarge: "{width} × {height} pixels are {megapixels} megapixels, above the limit of {limit}",
    memory: "not enough memory for a photo of this size; close other tabs or make it smaller",
    zipTooLarge: "the zip would be above 4 GB; download the photos one by one",
    part: "{name} could not be loaded; check the connection and open the page again",
    other: "it could not be colored ({reason})",
    worker: "this browser is too old for the page; a current one is needed",
    version: "pix2color {version}, weights {digest}",
  },
};

const language = navigator.language.split("-")[0];
const table = { ...TEXTS.en, ...(TEXTS[language] ?? {}) };

/**
 * A text with its values.
 *
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function text(key, values = {}) {
  return (table[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Fill in the elements of the page: data-text for their content, data-label for their label. */
export function fillIn() {
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = text(element.getAttribute("data-text") ?? "");
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.getAttribute("data-label") ?? ""));
  }
  document.documentElement.lang = language in TEXTS ? language : "en";
  document.title = text("title");
}
