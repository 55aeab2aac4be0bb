// What is the same on every machine, before the page begins: the form of numbers and times,
// and a font whose letters are all 0.55 em wide, whose bytes are given.
;(() => {
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
  const font = new FontFace('Even', Uint8Array.from(atob('FONT'), c => c.charCodeAt(0)), { weight: '1 1000' })
  document.fonts.add(font)
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(`*, ::before, ::after, ::placeholder {
    font-family: Even !important;
    text-rendering: geometricPrecision !important;
    text-wrap-style: auto !important;
    scrollbar-gutter: auto !important;
    scrollbar-width: none !important;
  }`)
  document.adoptedStyleSheets = [sheet]
})()
