// Reads of an ELF file, a program or a library of Linux, what it asks of the machine that loads it.

import { readFileSync } from 'node:fs'

const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) // 64 bits, little-endian
const MACHINES = { 62: 'x64', 183: 'arm64' }
const [PT_LOAD, PT_DYNAMIC, PT_INTERP] = [1, 2, 3]
const [DT_NEEDED, DT_STRTAB, DT_VERNEED, DT_VERNEEDNUM] = [1n, 5n, 0x6ffffffen, 0x6fffffffn]

/**
 * What a file asks for: `needed` are the libraries that it is linked to, `versions` the versions of their symbols
 * ('GLIBC_2.17'), `interpreter` the program that loads it (none of a library or a static program), `sections` the names
 * of its sections.
 */
export function elf(bytes) {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('not an ELF file of 64 bits')
  const number = (at) => Number(bytes.readBigUInt64LE(at))
  const text = (at) => bytes.toString('latin1', at, bytes.indexOf(0, at))

  const segments = table(number(32), bytes.readUInt16LE(54), bytes.readUInt16LE(56), (at) => ({
    type: bytes.readUInt32LE(at),
    offset: number(at + 8),
    address: number(at + 16),
    size: number(at + 32),
  }))
  /** Where in the file something is that has an address in memory. */
  const located = (address) => {
    const of = ({ type, address: start, size }) =>
      type === PT_LOAD && address >= start && address < start + size
    const segment = segments.find(of)
    if (!segment) throw new Error(`nothing is loaded at ${address}`)
    return address - segment.address + segment.offset
  }
  const one = (type) => segments.find((segment) => segment.type === type)

  const dynamic = one(PT_DYNAMIC)
  const entries = dynamic
    ? table(dynamic.offset, 16, dynamic.size / 16, (at) => [bytes.readBigUInt64LE(at), number(at + 8)])
    : []
  const value = (tag) => entries.find(([key]) => key === tag)?.[1]
  const strings = value(DT_STRTAB) === undefined ? 0 : located(value(DT_STRTAB))

  const versions = []
  let library = value(DT_VERNEED) === undefined ? 0 : located(value(DT_VERNEED))
  for (let left = value(DT_VERNEEDNUM) ?? 0; left > 0; left--) {
    let symbol = library + bytes.readUInt32LE(library + 8)
    for (let of = bytes.readUInt16LE(library + 2); of > 0; of--) {
      versions.push(text(strings + bytes.readUInt32LE(symbol + 8)))
      symbol += bytes.readUInt32LE(symbol + 12)
    }
    library += bytes.readUInt32LE(library + 12)
  }

  const sections = table(number(40), bytes.readUInt16LE(58), bytes.readUInt16LE(60), (at) => ({
    name: bytes.readUInt32LE(at),
    offset: number(at + 24),
  }))
  const names = sections[bytes.readUInt16LE(62)]?.offset ?? 0
  const interpreter = one(PT_INTERP)
  return {
    machine: MACHINES[bytes.readUInt16LE(18)] ?? 'another',
    interpreter: interpreter && text(interpreter.offset),
    needed: entries.filter(([key]) => key === DT_NEEDED).map(([, at]) => text(strings + at)),
    versions,
    sections: sections.map(({ name }) => text(names + name)),
  }
}

/** The rows of a table of a file. */
function table(at, size, count, row) {
  return Array.from({ length: count }, (_, index) => row(at + index * size))
}

/** An addon and the programs that are embedded in it, each as {@link elf} gives them. */
export function addon(path) {
  const bytes = readFileSync(path)
  const embedded = []
  for (let at = bytes.indexOf(MAGIC, 1); at > 0; at = bytes.indexOf(MAGIC, at + 1)) {
    // Executables and libraries only: the bytes of the magic number are found in programs that look for it, too.
    if ([2, 3].includes(bytes.readUInt16LE(at + 16))) embedded.push(elf(bytes.subarray(at)))
  }
  return { size: bytes.length, ...elf(bytes), embedded }
}

/** The newest version of glibc that symbols of these versions need, as [2, 17]; none where they need none. */
export function newestGlibc(versions) {
  return versions
    .flatMap((version) => {
      const found = /^GLIBC_(\d+)\.(\d+)/.exec(version)
      return found ? [[Number(found[1]), Number(found[2])]] : []
    })
    .sort(([a, b], [c, d]) => c - a || d - b)[0]
}
