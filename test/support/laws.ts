import fc from 'fast-check'

// What a property is given follows from one seed: the same on every run, so that a change is judged by itself, or
// another with each round of `npm run laws`, which looks for what nobody has thought of.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env['LAWS_SEED'] ?? 1) })
