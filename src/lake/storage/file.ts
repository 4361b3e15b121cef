import { constants } from 'node:fs'
import { link, lstat, mkdir, open, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { asLakeError, LakeError } from '../../error.ts'
import type { PutOutcome } from './storage.ts'

// The steps of a durable write on a file system, and what its errors mean to a store.

const noHardLinks: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV'])

/**
 * NFS may link and then answer with an error, also EEXIST for its own work; the count of names settles it. That the
 * target is this file must be true as well: a backup of the store by hard links counts too.
 */
export async function linkOnce(temporary: string, target: string): Promise<PutOutcome> {
  try {
    await link(temporary, target)
    return { kind: 'created' }
  } catch (error) {
    const { nlink, ino } = await lstat(temporary)
    if (nlink > 1 && (await lstat(target).catch(absent))?.ino === ino) return { kind: 'created' }
    if (codeOf(error) === 'EEXIST') return { kind: 'exists' }
    if (!noHardLinks.has(codeOf(error))) throw error
    throw new LakeError('store.no_conditional_write', `${target}: this file system cannot link a file`, {
      cause: error,
      fix: 'Put the store on a file system with hard links (ext4, xfs, btrfs, zfs, apfs, NFS), all of it on one, or on S3.',
    })
  }
}

export async function writeDurably(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx').catch(async (error: unknown) => {
    if (!isAbsence(error)) throw error
    await mkdir(path.dirname(file)) // the scratch folder of a long idle process may have been swept
    return open(file, 'wx')
  })
  try {
    // In as few calls as the system takes: `writeFile` makes one of each half megabyte.
    for (let at = 0; at < bytes.length;) at += (await handle.write(bytes, at)).bytesWritten
    await handle.sync()
  } finally {
    release(handle)
  }
}

/** Makes a folder and those above it. A new folder is durable when the folder that names it has been flushed. */
export async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true })
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = path.dirname(made)) await flush(path.dirname(made))
}

/** fsync of a file or a folder. */
export async function flush(file: string): Promise<void> {
  const handle = await open(file, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    release(handle)
  }
}

/** Closes what was flushed, or failed already: nothing is learned from it, so that nobody waits. */
function release(handle: FileHandle): void {
  handle.close().catch(() => undefined)
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

/** `a/b` is also absent when `a` is a file. */
export function isAbsence(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

export function absent(error: unknown): undefined {
  if (!isAbsence(error)) throw error
}

/** Names what a file system error means; `unavailable` also when nothing is known about it. */
export function refusal(error: unknown, what: string): LakeError {
  if (error instanceof LakeError) return error
  const code = codeOf(error)
  const message = `${what}: ${asLakeError(error).message}`
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new LakeError('store.disk_full', message, {
        retryable: true,
        cause: error,
        fix: 'Free space on the disk of the store; writing goes on by itself.',
      })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ELOOP':
      return new LakeError('store.denied', message, {
        cause: error,
        fix: "Give this process's user the right to read and write the store's folder, and keep symbolic links out of it.",
      })
    case undefined:
    case 'EISDIR':
    case 'ENOTDIR':
    case 'ENAMETOOLONG':
      return asLakeError(error)
    default:
      return new LakeError('store.unavailable', message, {
        retryable: true,
        cause: error,
        fix: 'Look at the disk of the store: the operating system answered with an error.',
      })
  }
}
