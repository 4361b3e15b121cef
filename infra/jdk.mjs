// Finds a Java that is new enough, where the one on the path may be older: in JAVA_HOME, then where systems keep them.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

const FOLDERS = ['/usr/lib/jvm', '/Library/Java/JavaVirtualMachines']

/** Home of the newest Java of at least this version, JAVA_HOME first. Throws, with what to do, when there is none. */
export function findJdk(least, what, folders = FOLDERS, own = process.env.JAVA_HOME) {
  const installed = folders
    .filter(existsSync)
    .flatMap((folder) => readdirSync(folder).flatMap((name) => homes(path.join(folder, name))))
  const found = [...(own ? [own] : []), ...installed.toSorted((a, b) => versionOf(b) - versionOf(a))]
  const home = found.find((each) => versionOf(each) >= least)
  if (home !== undefined) return home
  throw new Error(
    `${what} needs Java ${least} or newer, and neither JAVA_HOME nor ${folders.join(', ')} holds one: install a JDK ${least} and set JAVA_HOME to its folder`,
  )
}

function homes(folder) {
  return [folder, path.join(folder, 'Contents/Home')]
}

/** Each Java says its version in a file; 0 where none does. */
function versionOf(home) {
  const file = path.join(home, 'release')
  if (!existsSync(file) || !existsSync(path.join(home, 'bin/java'))) return 0
  return Number(/^JAVA_VERSION="(?:1\.)?(\d+)/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0)
}
