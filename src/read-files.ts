import type { Plugin } from 'esbuild'

/** Told of each file of a definition or a configuration, by its whole path, before it is read. */
export type OnRead = (file: string) => void

/** Tells of the files that a bundle is made of, also when it cannot be made. */
export function tellingReads(onRead: OnRead): Plugin {
  return {
    name: 'reads',
    setup: (plugin) =>
      plugin.onLoad({ filter: /.*/, namespace: 'file' }, ({ path }) => {
        onRead(path)
        return undefined
      }),
  }
}
