import { LakeError } from '../error.ts'

/** Why a request to a supervisor is refused. */

export function pausedError(pipeline: string, how: string): LakeError {
  return new LakeError('pipeline.paused', `pipeline ${pipeline} ${how}`, { fix: 'Resume it first.' })
}

export function notOwnerError(message: string): LakeError {
  const fix = 'Ask the process that writes it; its name is in the newest version.'
  return new LakeError('pipeline.not_owner', message, { fix })
}

export function notHere(): never {
  throw new LakeError('config.unsupported', 'this process does no such maintenance')
}
