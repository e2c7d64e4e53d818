'use client'
// A terminal of the sandbox: xterm.js, its output as events, its input as requests.

import '@xterm/xterm/css/xterm.css'
import type { Terminal as Xterm } from '@xterm/xterm'
import { useEffect, useRef, useState } from 'react'
import { events, tellTerminal } from '@/lib/client'
import type { TerminalEvent } from '@/lib/events'

export function Terminal({ onQuiet }: { onQuiet: () => void }) {
  const place = useRef<HTMLDivElement>(null)
  const quiet = useRef(onQuiet)
  const [opened, setOpened] = useState(0)
  const [isOpen, setIsOpen] = useState(false)
  quiet.current = onQuiet

  useEffect(() => {
    if (opened === 0 || !place.current) return
    const gone = new AbortController()
    setIsOpen(true)
    void show(place.current, gone.signal, () => quiet.current()).finally(() => {
      if (!gone.signal.aborted) setIsOpen(false)
    })
    return () => gone.abort()
  }, [opened])

  return (
    <section className="card terminal" aria-label="Terminal">
      <header>
        <h2>Terminal</h2>
        {isOpen && <span className="outcome">bash, in your sandbox</span>}
        {opened > 0 && !isOpen && (
          <button type="button" className="quiet" onClick={() => setOpened(opened + 1)}>
            Open again
          </button>
        )}
      </header>
      {opened === 0 ? (
        <div className="closed">
          <button type="button" onClick={() => setOpened(1)}>
            Open terminal
          </button>
        </div>
      ) : (
        <div className="screen" ref={place} />
      )}
    </section>
  )
}

/** Shows a new terminal of the sandbox until it ends or `gone` is aborted. */
async function show(place: HTMLElement, gone: AbortSignal, onQuiet: () => void) {
  const [{ Terminal }, { FitAddon }] = await Promise.all([import('@xterm/xterm'), import('@xterm/addon-fit')])
  if (gone.aborted) return
  place.replaceChildren()
  const xterm = new Terminal({
    cursorBlink: true,
    fontSize: 13,
    fontFamily: fontOf(place),
    theme: themeOf(place),
  })
  const fit = new FitAddon()
  xterm.loadAddon(fit)
  xterm.open(place)
  fit.fit()
  xterm.focus()
  const scheme = matchMedia('(prefers-color-scheme: dark)')
  const recolour = () => {
    xterm.options.theme = themeOf(place)
  }
  scheme.addEventListener('change', recolour)
  const resized = new ResizeObserver(() => fit.fit())
  resized.observe(place)
  gone.addEventListener('abort', () => xterm.dispose(), { once: true })

  let silence: ReturnType<typeof setTimeout> | undefined
  try {
    const size = { cols: xterm.cols, rows: xterm.rows }
    for await (const { event, data } of events<TerminalEvent>('/api/terminal', size, gone)) {
      if (event === 'open') connect(xterm, data.id)
      else if (event === 'data') await new Promise<void>((done) => xterm.write(data.text, done))
      else xterm.write(`\r\n[ended with ${data.exitCode}]`)
      clearTimeout(silence)
      silence = setTimeout(onQuiet, 400)
    }
  } catch (error) {
    if (!gone.aborted) xterm.write(`\r\n[${(error as Error).message}]`)
  } finally {
    resized.disconnect()
    scheme.removeEventListener('change', recolour)
    xterm.options.disableStdin = true
  }
}

/** Sends what is typed, in order: what is typed while something is on its way goes together after it. */
function connect(xterm: Xterm, id: string) {
  let typed = ''
  let isSending = false
  const send = async () => {
    if (isSending) return
    isSending = true
    while (typed !== '') {
      const input = typed
      typed = ''
      // One that has ended takes nothing.
      await tellTerminal(id, { input }).catch(() => {})
    }
    isSending = false
  }
  xterm.onData((input) => {
    typed += input
    void send()
  })
  xterm.onResize(({ cols, rows }) => void tellTerminal(id, { cols, rows }).catch(() => {}))
}

/** The page's colours, as they are now. */
function themeOf(place: HTMLElement) {
  const { color, backgroundColor } = getComputedStyle(place)
  const sample = place.appendChild(document.createElement('span'))
  const colour = (name: string) => {
    sample.style.color = `var(--${name})`
    return getComputedStyle(sample).color
  }
  const theme = {
    background: backgroundColor,
    foreground: color,
    cursor: color,
    selectionBackground: 'rgb(128 128 128 / 35%)',
    red: colour('bad'),
    green: colour('accent'),
    yellow: colour('number'),
    blue: colour('name'),
    magenta: colour('keyword'),
    cyan: colour('string'),
  }
  sample.remove()
  return theme
}

function fontOf(place: HTMLElement) {
  return getComputedStyle(place).fontFamily
}
