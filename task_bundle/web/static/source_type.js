// Marks PNG files as task_bundle.media.source_type does: IPTC's DigitalSourceType in XMP.

const SOURCE_TYPE =
  "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
const XMP =
  '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>' +
  '<x:xmpmeta xmlns:x="adobe:ns:meta/">' +
  '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' +
  '<rdf:Description rdf:about="" ' +
  'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" ' +
  `Iptc4xmpExt:DigitalSourceType="${SOURCE_TYPE}"/>` +
  "</rdf:RDF></x:xmpmeta>" +
  '<?xpacket end="r"?>';
// Signature and header chunk, behind which other chunks may follow.
const PNG_HEAD = 8 + 25;

/** Returns a copy of a PNG, a Blob, with the mark. */
export function marked(png) {
  return new Blob([png.slice(0, PNG_HEAD), textChunk(), png.slice(PNG_HEAD)], {
    type: "image/png",
  });
}

/** An uncompressed international text, without language and translated keyword. */
function textChunk() {
  const content = new TextEncoder().encode(`iTXtXML:com.adobe.xmp\0\0\0\0\0${XMP}`);
  const chunk = new Uint8Array(content.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, content.length - 4);
  chunk.set(content, 4);
  view.setUint32(content.length + 4, crc32(content));
  return chunk;
}

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
