'use client'
// What a run has printed, and how it ended.

import { useEffect, useRef } from 'react'
import type { Run } from './run'

export function Output({ run }: { run: Run }) {
  const end = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (run.pieces.length > 0) end.current?.scrollIntoView({ block: 'nearest' })
  }, [run.pieces])

  const isNew = run.pieces.length === 0 && !run.isRunning && run.outcome === undefined
  return (
    <section className="card output">
      <header>
        <h2>Output</h2>
        <span className={`outcome ${run.isRunning ? 'busy' : ''}`} role="status">
          {run.isRunning ? 'running …' : run.outcome}
        </span>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached with the keyboard */}
      <pre role="log" aria-label="Output" tabIndex={0}>
        {isNew && <span className="hint">What your code prints comes here, as it prints it.</span>}
        {run.pieces.map(({ kind, text }, at) => (
          <span key={at} className={kind}>
            {text}
          </span>
        ))}
        <div ref={end} />
      </pre>
    </section>
  )
}
