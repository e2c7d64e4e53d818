'use client'
// A run: what was printed so far, and what came of it.

import type { CodeResult, ComputeEvent } from 'computesdk'
import { useCallback, useRef, useState } from 'react'
import { events, openSandbox } from '@/lib/client'
import type { Language } from './samples'

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
        // The one that there was may have ended.
        const { sandboxId } = await openSandbox()
        const body = { action: 'compute.sandbox.runCode', sandboxId, code, runtime: language }
        for await (const { event, data } of events<ComputeEvent>('/api/compute', body, signal)) {
          if (event === 'stdout' || event === 'stderr') print(event, data.text)
          else if (event === 'result') outcome = inWords(data.result as CodeResult)
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

function inWords({ exitCode, durationMs, timedOut, oomKilled, truncated }: CodeResult): string {
  const seconds = `${(durationMs / 1000).toFixed(2)} s${truncated ? ', output cut short' : ''}`
  if (timedOut) return `stopped after ${seconds}`
  if (oomKilled) return `out of memory after ${seconds}`
  return exitCode === 0 ? `done in ${seconds}` : `exit code ${exitCode} after ${seconds}`
}

/** One more piece, joined to the last of its kind. */
function withPiece(pieces: Piece[], next: Piece): Piece[] {
  const last = pieces.at(-1)
  if (last?.kind !== next.kind) return [...pieces, next]
  return [...pieces.slice(0, -1), { kind: last.kind, text: last.text + next.text }]
}
