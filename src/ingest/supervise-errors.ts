import { LakeError } from '../error.ts'
import type { Positions } from '../log.ts'
import type { Version } from '../version.ts'

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

/** Of a wait that was given up: how far the pipeline was then, so that a wrong partition or offset shows. */
export function waitCancelled(positions: Positions, head: Version | undefined): LakeError {
  const waits = [...positions].map(([id, until]) => {
    const position = head?.positions.get(id)
    return `${id} is to pass offset ${until - 1n} and ${position === undefined ? 'is not read yet' : `stands at ${position}`}`
  })
  return new LakeError('sql.cancelled', `the wait was cancelled: ${waits.join(', ')}`, {
    fix: 'Compare with the partitions of the topic and the offsets that its producer was told; wait longer if they are right.',
  })
}
