declare module 'snappyjs' {
  /** Raw Snappy, without framing. Throws when the bytes are invalid or unpack to more than `bytesMax`. */
  export function uncompress(data: Uint8Array, bytesMax?: number): Uint8Array
  export function compress(data: Uint8Array): Uint8Array
  const snappy: { readonly uncompress: typeof uncompress; readonly compress: typeof compress }
  export default snappy
}
