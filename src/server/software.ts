import { readFileSync } from 'node:fs'

let known: string | undefined

/** Version of this software, from the package that it lies in: above `src/server` as well as above `dist`. */
export function softwareVersion(): string {
  return (known ??= versionAbove(import.meta.url))
}

function versionAbove(url: string): string {
  for (const above of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(above, url), 'utf8')) as Record<string, string>
      if (name === 'kappalake' && version !== undefined) return version
    } catch {
      // not there: one folder further up
    }
  }
  return 'unknown'
}
