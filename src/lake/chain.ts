import type { Version, VersionSelector } from '../version.ts'

/** The versions of one pipeline, in order. The only mutable thing in a store is which of them is the last. */
export interface Chain {
  readonly pipeline: string
  /** The newest version; undefined when the pipeline has never run here. */
  head(): Promise<Version | undefined>
  /** Throws `version.unknown` when there is none, or when it is no longer kept. */
  at(when: VersionSelector): Promise<Version>
  /** Newest first, at most `limit`, all with numbers below `before` when given. */
  versions(limit: number, before?: bigint): Promise<readonly Version[]>
  /** Adds one version after `base` (undefined: the first of the chain), resolving every outcome by commit id. */
  append(base: Version | undefined, draft: Draft): Promise<CommitResult>
}

/** What a commit wants to become. `build` may be called again when maintenance moved the head in between. */
export interface Draft {
  readonly commitId: string
  /** Writes whatever the version refers to, under names of its own, and gives the version to publish after `head`. */
  build(head: Version | undefined): Promise<Version>
}

export type CommitResult =
  | { readonly kind: 'committed'; readonly version: Version }
  | { readonly kind: 'stale'; readonly head: Version }
  | { readonly kind: 'superseded'; readonly head: Version }
