import fc from 'fast-check'

// Properties over real parts take their time for each run. What fails is told at once, with the seed and path that make
// it again, instead of being made smaller until the test's time is over; and a run that hangs is a failure like another.
fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true, timeout: 90_000 })
