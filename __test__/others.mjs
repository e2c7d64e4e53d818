// Providers of other packages, as their users install them.

import { installed } from './install.mjs'

/** Installs the packages of the folder `plugins`, unless they are there, and gives the function that requires one. */
export const others = () => installed('plugins')
