import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

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

/** An authority of its own, by openssl. */
export function makeAuthority(folder: string, name: string): Authority {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  const read = (file: string) => readFileSync(path.join(folder, file), 'utf8')
  const key = ['-newkey', 'rsa:2048', '-nodes']
  openssl(
    'req',
    '-x509',
    ...key,
    '-days',
    '30',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  )
  let count = 0
  return {
    ca: read(`${name}.pem`),
    caFile: path.join(folder, `${name}.pem`),
    sign(commonName, names, days = 30) {
      const file = `${name}-${++count}`
      openssl('req', ...key, '-subj', `/CN=${commonName}`, '-keyout', `${file}.key`, '-out', `${file}.csr`)
      writeFileSync(path.join(folder, `${file}.txt`), `subjectAltName=${names}`)
      const by = ['-CA', `${name}.pem`, '-CAkey', `${name}.key`, '-CAcreateserial', '-days', String(days)]
      openssl('x509', '-req', '-in', `${file}.csr`, ...by, '-extfile', `${file}.txt`, '-out', `${file}.pem`)
      const made = { cert: read(`${file}.pem`), key: read(`${file}.key`) }
      const keystore = path.join(folder, `${file}.keystore.pem`)
      writeFileSync(keystore, `${made.key}${made.cert}`)
      return { ...made, keystore }
    },
  }
}
