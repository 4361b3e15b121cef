export interface Packed {
  readonly tarball: string
  readonly files: readonly string[]
  readonly unpackedSize: number
}
export function pack(folder: string): Packed
export function link(tarball: string, project: string, others?: readonly string[]): void
export function checkPackage(options: {
  readonly isShort: boolean
  readonly log?: (text: string) => void
}): Packed & { readonly version: string }
