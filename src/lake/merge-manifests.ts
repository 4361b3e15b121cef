import type { ManifestFile } from './manifest-list.ts'
import { existing, inBatches, readManifest, writeManifest, type ManifestCommit } from './manifests.ts'

/** So many manifests of a tier are merged into one of the next. */
const MERGE_AT = 32
/** A manifest with so many files, or bytes, is never touched again. */
const LARGE_FILES = 1_024
const LARGE_BYTES = 1 << 20

/**
 * Replaces many small manifests by a larger one, so that a list stays short. There are three tiers by files in a
 * manifest: below 32, below 1,024, and large. What one commit reads and rewrites has a bound, so it costs the same
 * whatever the age of the table: an entry is rewritten at most twice in its life. Entries keep their sequence numbers
 * and row ids.
 */
export async function mergeManifests(
  commit: ManifestCommit,
  manifests: readonly ManifestFile[],
): Promise<readonly ManifestFile[]> {
  let all = manifests
  for (const tier of ['small', 'middle'] as const) {
    const group = mergeable(
      all.filter((manifest) => tierOf(manifest) === tier && manifest.specId === commit.table.spec['spec-id']),
    )
    if (group.size === 0) continue
    const { storage, table } = commit
    const entries = (await inBatches([...group], (manifest) => readManifest(storage, table, manifest))).flat()
    const merged = writeManifest(commit, 'm1', table.spec['spec-id'], entries.map(existing))
    // The next tier may read it.
    await commit.puts.done()
    const newest = all.find((manifest) => group.has(manifest))
    all = all.flatMap((manifest) => (manifest === newest ? [merged] : group.has(manifest) ? [] : [manifest]))
  }
  return all
}

/** The oldest of a tier that has enough of them, up to what makes a large manifest. The newest come first. */
function mergeable(tier: readonly ManifestFile[]): ReadonlySet<ManifestFile> {
  const group = new Set<ManifestFile>()
  if (tier.length < MERGE_AT) return group
  let [files, bytes] = [0, 0]
  for (const manifest of tier.toReversed()) {
    if (files >= LARGE_FILES || bytes >= LARGE_BYTES) break
    group.add(manifest)
    files += filesIn(manifest)
    bytes += manifest.length
  }
  return group
}

function tierOf(manifest: ManifestFile): 'small' | 'middle' | 'large' {
  const files = filesIn(manifest)
  if (files >= LARGE_FILES || manifest.length >= LARGE_BYTES) return 'large'
  return files < MERGE_AT ? 'small' : 'middle'
}

function filesIn(manifest: ManifestFile): number {
  return manifest.addedFiles + manifest.existingFiles
}
