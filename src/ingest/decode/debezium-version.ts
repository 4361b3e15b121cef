/** Field of the source whose number begins anew with each file of the log, and the one that names the file. */
const POSITION = 'pos'
const FILE = 'file'

/** A position takes so many bits of a version; files have those above. */
const POSITION_BITS = 36n
const POSITION_END = 1n << POSITION_BITS
const FILE_END = 1 << 27

/** Name of the field that names the file which a version is a position in; undefined of versions that stand alone. */
export function fileFieldOf(versionField: string | undefined): string | undefined {
  return versionField === POSITION ? FILE : undefined
}

/** The number at the end of a file's name, `bin.000003`; −1 where there is none, or one that no file has. */
export function fileNumber(name: string): number {
  const digits = /\d{1,12}$/.exec(name)?.[0]
  return digits === undefined || Number(digits) >= FILE_END ? -1 : Number(digits)
}

/**
 * What orders the changes of MySQL and MariaDB: the number of the file, then the position in it, in one integer. Without
 * a file's number the position alone. Undefined where they do not fit.
 */
export function versionInFile(position: bigint | undefined, file: number): bigint | undefined {
  if (file < 0 || position === undefined) return position
  return position < 0n || position >= POSITION_END ? undefined : (BigInt(file) << POSITION_BITS) + position
}
