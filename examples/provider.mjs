// Where the examples run: in E2B's cloud if there is a key (E2B_API_KEY), else on this machine, with the Python that
// COMPUTESDK_PYTHON names. The packages that an example imports have to be installed there; E2B has them.

import { e2b, local } from 'computesdk'

export const provider = process.env.E2B_API_KEY
  ? e2b()
  : local({ python: process.env.COMPUTESDK_PYTHON || undefined })
