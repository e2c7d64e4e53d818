'use client'
// A run: what was printed so far, and what came of it.

import { useCallback, useRef, useState } from 'react'
import { events } from '@/lib/client'
import type { Language } from './samples'

/** Characters of output that the page keeps, the latest. */
const MOST = 200_000

export interface Piece {
  kind: 'stdout' | 'stderr' | 'error'
  text: string
}

export interface Run {
  isRunning: boolean
  pieces: Piece[]
  /** What came of it, in words. */
  outcome?: string
}

export function useRun(onEnd: () => void) {
  const [run, setRun] = useState<Run>({ isRunning: false, pieces: [] })
  const stopping = useRef<AbortController>(null)

  const start = useCallback(
    async (language: Language, code: string) => {
      stopping.current = new AbortController()
      const { signal } = stopping.current
      setRun({ isRunning: true, pieces: [] })
      let outcome = 'stopped'
      const print = (kind: Piece['kind'], text: string) =>
        setRun((run) => ({ ...run, pieces: withPiece(run.pieces, { kind, text }) }))
      try {
        for await (const { name, data } of events('/api/run', { code, runtime: language }, signal)) {
          if (name === 'stdout' || name === 'stderr') print(name, data.text)
          else if (name === 'result') outcome = inWords(data.result)
          else throw new Error(data.error)
        }
      } catch (error) {
        if (!signal.aborted) {
          outcome = 'failed'
          print('error', error instanceof Error ? error.message : String(error))
        }
      }
      setRun((run) => ({ ...run, isRunning: false, outcome }))
      onEnd()
    },
    [onEnd],
  )

  const stop = useCallback(() => stopping.current?.abort(), [])
  return { run, start, stop }
}

function inWords(result: { exitCode: number; durationMs: number; timedOut?: boolean; oomKilled?: boolean }) {
  const seconds = `${(result.durationMs / 1000).toFixed(2)} s`
  if (result.timedOut) return `stopped after ${seconds}`
  if (result.oomKilled) return `out of memory after ${seconds}`
  return result.exitCode === 0 ? `done in ${seconds}` : `exit code ${result.exitCode} after ${seconds}`
}

/** One more piece, joined to the last of its kind; the oldest go when there are too many. */
function withPiece(pieces: Piece[], next: Piece): Piece[] {
  const last = pieces.at(-1)
  const all =
    last?.kind === next.kind
      ? [...pieces.slice(0, -1), { kind: last.kind, text: (last.text + next.text).slice(-MOST) }]
      : [...pieces, next]
  const length = all.reduce((sum, { text }) => sum + text.length, 0)
  return length > MOST ? all.slice(1) : all
}
