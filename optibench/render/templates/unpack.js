// From base64 to what was packed: JSON, compressed by gzip.
window.optibenchUnpack = async (text) => {
  "use strict";
  let bytes;
  if (Uint8Array.fromBase64) {
    bytes = Uint8Array.fromBase64(text);
  } else {
    const binary = atob(text);
    bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
};

// Numbers as people read them, as units.py writes them.
window.optibenchUnits = (() => {
  "use strict";
  const NONE = "–";
  const digits = (value) => {
    const rounded = Number(value.toPrecision(3));
    const size = Math.abs(rounded);
    if (size >= 1000) return Math.round(value).toLocaleString("en-US");
    return rounded.toFixed(size >= 100 || rounded === 0 ? 0 : size >= 10 ? 1 : 2);
  };
  const scaled = (value, units) => {
    if (value === null || value === undefined) return NONE;
    for (const [unit, size] of units) {
      if (Number((Math.abs(value) / size).toPrecision(3)) >= 1) return `${digits(value / size)} ${unit}`;
    }
    const [unit, size] = units[units.length - 1];
    return `${digits(value / size)} ${unit}`;
  };
  const seconds = (value) => scaled(value, [["s", 1], ["ms", 1e-3], ["µs", 1e-6], ["ns", 1e-9]]);
  const bytes = (value) => scaled(value, [["GB", 1e9], ["MB", 1e6], ["kB", 1e3], ["B", 1]]);
  const ratio = (low, mid, high) => {
    if (mid === null || mid === undefined) return NONE;
    const places = mid >= 10 ? 1 : high < 0.1 ? 3 : 2;
    return `${mid.toFixed(places)}× (${low.toFixed(places)}–${high.toFixed(places)})`;
  };
  const share = (value) => (value === null || value === undefined ? NONE : `${(value * 100).toFixed(1)}%`);
  const money = (value) => (value === null ? NONE : digits(value));
  const titles = { onnxruntime: "ONNX Runtime", openvino: "OpenVINO", pytorch: "PyTorch", tensorrt: "TensorRT", "tensorrt-rtx": "TensorRT-RTX" };
  return { NONE, seconds, bytes, ratio, share, money, title: (backend) => titles[backend] || backend };
})();
