/** A certificate with its key, signed by the authority of its folder, as texts and as the file that Java reads. */
export interface Certificate {
  readonly cert: string
  readonly key: string
  /** Key and certificate in one PEM file. */
  readonly keystore: string
}

export interface Authority {
  readonly ca: string
  readonly caFile: string
  /** For these names; `days: 0` is one whose time is over as it is made. */
  sign(commonName: string, names: string, days?: number): Certificate
}

/** An authority of its own, in this folder. */
export function makeAuthority(folder: string, name: string): Authority
