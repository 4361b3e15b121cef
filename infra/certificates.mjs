// Authorities and certificates for brokers and clients of a test, by openssl.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

export function makeAuthority(folder, name) {
  const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  const read = (file) => readFileSync(path.join(folder, file), 'utf8')
  const key = ['-newkey', 'rsa:2048', '-nodes']
  const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`]
  openssl('req', '-x509', ...key, '-days', '30', '-subj', `/CN=${name}`, ...files)
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
