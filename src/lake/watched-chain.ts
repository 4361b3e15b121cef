import type { Version, VersionSelector } from '../version.ts'
import type { Chain, CommitResult, Draft } from './chain.ts'

/**
 * A chain that tells of each newer head that this process sees, whoever committed it and whoever looked. Versions in
 * between, which another process committed, are passed over.
 */
export function watchedChain(chain: Chain, onHead: (head: Version) => void): Chain {
  let newest: bigint | undefined
  const saw = (head: Version | undefined): void => {
    if (head === undefined || (newest !== undefined && head.number <= newest)) return
    newest = head.number
    onHead(head)
  }
  return {
    pipeline: chain.pipeline,
    async head(): Promise<Version | undefined> {
      const head = await chain.head()
      saw(head)
      return head
    },
    at: (when: VersionSelector) => chain.at(when),
    versions: (limit: number, before?: bigint) => chain.versions(limit, before),
    async append(base: Version | undefined, draft: Draft, signal?: AbortSignal): Promise<CommitResult> {
      const result = await chain.append(base, draft, signal)
      saw(result.kind === 'committed' ? result.version : result.head)
      return result
    },
  }
}
