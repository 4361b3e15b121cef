import type { BuildOptions } from 'esbuild'

/** How esbuild makes a program in one file. */
export const program: BuildOptions & { readonly banner: { readonly js: string } }
export function bundle(outdir?: string): Promise<void>
