// What is the same on every machine, before the page begins: the time, the form of numbers
// and times, and a font whose letters are all 0.55 em wide, whose bytes are given.
;(() => {
  const now = Date.parse('2026-11-20T12:00:00Z')
  globalThis.Date = class extends Date {
    constructor(...given) {
      super(...(given.length > 0 ? given : [now]))
    }
    static now() {
      return now
    }
  }
  const two = n => String(n).padStart(2, '0')
  const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
  Intl.DateTimeFormat = class {
    constructor(_, options) {
      this.options = options
    }
    format(at) {
      const d = new Date(at)
      const o = this.options
      if (o.dateStyle) return d.toISOString()
      const day = o.weekday ? days[d.getDay()] : o.day ? `${d.getDate()}/${d.getMonth() + 1}${o.year ? `/${d.getFullYear()}` : ''}` : ''
      const minute = o.hour ? `${two(d.getHours())}:${two(d.getMinutes())}` : ''
      const second = o.second ? `:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}` : ''
      return [day, minute + second].filter(Boolean).join(' ')
    }
  }
  const units = { day: 'd', hour: 'h', minute: 'min', second: 's', millisecond: 'ms', byte: 'B', kilobyte: 'kB', megabyte: 'MB', gigabyte: 'GB', terabyte: 'TB' }
  Intl.NumberFormat = class {
    constructor(_, options = {}) {
      this.options = options
    }
    format(n) {
      const o = this.options
      const places = 10 ** (o.maximumFractionDigits ?? 3)
      if (o.style === 'percent') return `${Math.round(n * 100 * places) / places} %`
      const text = String(Math.round(n * places) / places)
      return o.style === 'unit' ? `${text} ${units[o.unit]}` : text
    }
  }
  // rest is when all that was asked for has come and has been drawn: what follows from an
  // answer begins within some frames of it.
  let begun = 0
  let underWay = 0
  const { fetch } = globalThis
  globalThis.fetch = async (...given) => {
    begun++
    underWay++
    try {
      return await fetch(...given)
    } finally {
      underWay--
    }
  }
  const frame = () => new Promise(requestAnimationFrame)
  const turn = () => new Promise(resolve => setTimeout(resolve, 50))
  globalThis.rest = async () => {
    await document.fonts.ready
    if (font.status !== 'loaded') throw new Error(`the font is ${font.status}`)
    for (let before = -1; underWay > 0 || before !== begun; ) {
      before = begun
      await turn()
      for (let i = 0; i < 4; i++) await frame()
      await turn()
    }
    return true
  }
  const font = new FontFace('Even', Uint8Array.from(atob('FONT'), c => c.charCodeAt(0)), { weight: '1 1000' })
  document.fonts.add(font)
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(`*, ::before, ::after, ::placeholder {
    font-family: Even !important;
    text-rendering: geometricPrecision !important;
    text-wrap-style: auto !important;
    content-visibility: visible !important;
    scrollbar-gutter: auto !important;
    scrollbar-width: none !important;
  }`)
  document.adoptedStyleSheets = [sheet]
})()
