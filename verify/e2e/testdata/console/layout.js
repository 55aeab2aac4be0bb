// What is to be seen, as lines in the order of the document: the role, the name and the
// state of each element that says or does something, its box, and its colours; and what is
// wrong with it. An expression, for the page that is shown.
;(() => {
  const top = document.querySelector('dialog[open]') ?? document.body
  const faults = []

  // Colours.
  const parse = text => {
    const [r, g, b, a = 1] = text.match(/[\d.]+(?=[,\s)/])/g).map(Number)
    return text.startsWith('rgb') ? [r, g, b, a] : [r * 255, g * 255, b * 255, a]
  }
  const over = (above, below) => [0, 1, 2].map(i => above[i] * above[3] + below[i] * (1 - above[3]))
  const behind = e => {
    if (!e) return [255, 255, 255]
    const own = parse(getComputedStyle(e).backgroundColor)
    return own[3] === 1 ? own.slice(0, 3) : over(own, behind(e.parentElement))
  }
  const hex = c => '#' + c.map(v => Math.round(v).toString(16).padStart(2, '0')).join('')
  const light = c =>
    c.map(v => v / 255).reduce((sum, v, i) => sum + (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4) * [0.2126, 0.7152, 0.0722][i], 0.05)
  const contrast = (a, b) => Math.max(light(a), light(b)) / Math.min(light(a), light(b))

  // Roles, names and states.
  const roles = {
    A: 'link', BUTTON: 'button', SUMMARY: 'summary', SELECT: 'combobox', TEXTAREA: 'textbox', METER: 'meter', PROGRESS: 'progressbar',
    H1: 'heading 1', H2: 'heading 2', H3: 'heading 3', CODE: 'code', TIME: 'time', TH: 'column', TD: 'cell', DT: 'term', DD: 'definition', LABEL: 'label',
  }
  const regions = {
    HEADER: 'header', NAV: 'navigation', MAIN: 'main', SECTION: 'region', DIALOG: 'dialog', UL: 'list', OL: 'list', DL: 'list', TABLE: 'table',
    FIGURE: 'figure', FORM: 'form', FIELDSET: 'group',
  }
  const controls = ['A', 'BUTTON', 'SUMMARY', 'SELECT', 'TEXTAREA', 'INPUT']
  const whole = ['SELECT', 'TEXTAREA', 'INPUT', 'METER', 'PROGRESS', 'svg'] // what is in them is not elements of the page
  const squeezed = text => text.replace(/\s+/g, ' ').trim()
  const short = text => (text.length > 90 ? `${text.slice(0, 80)}… ${text.length}` : text)
  const texts = e => [...e.childNodes].filter(n => n.nodeType === Node.TEXT_NODE && n.data.trim())
  const said = e => e.getAttribute('aria-label') ?? ''
  const valued = e => {
    const value = e.tagName === 'SELECT' ? e.selectedOptions[0]?.text : ['checkbox', 'radio'].includes(e.type) ? '' : (e.value ?? '')
    const label = said(e) || squeezed([...(e.labels ?? [])].map(l => l.innerText).join(' ')).slice(0, 60)
    const tells = e.tagName === 'METER' || e.tagName === 'PROGRESS' ? `${e.value} of ${e.max}` : value ? `= ${value}` : e.placeholder ? `(${e.placeholder})` : ''
    return squeezed(`${label} ${tells}`)
  }
  const nameOf = e => (whole.includes(e.tagName) ? valued(e) || said(e) : said(e) || squeezed(texts(e).map(n => n.data).join(' ')))
  const roleOf = e => e.getAttribute('role') ?? (e.tagName === 'INPUT' ? e.type : (roles[e.tagName] ?? 'text'))
  const states = e =>
    [
      e.getAttribute('aria-current') && 'current',
      e.getAttribute('aria-pressed') === 'true' && 'pressed',
      e.checked && 'checked',
      e.disabled && 'disabled',
      e.tagName === 'SUMMARY' && e.parentElement.open && 'open',
      e.closest('[aria-hidden=true]') && 'for the eye',
      cut(e) && 'cut short',
    ].filter(Boolean)

  // Boxes.
  const cut = e => getComputedStyle(e).textOverflow === 'ellipsis' && e.scrollWidth > e.clientWidth
  const within = (r, c) => ({ left: Math.max(r.left, c.left), right: Math.min(r.right, c.right), top: Math.max(r.top, c.top), bottom: Math.min(r.bottom, c.bottom) })
  const some = r => r.right - r.left > 1 && r.bottom - r.top > 1
  // The part of a box that the elements around it show; sideways alone, what may be scrolled to counts as shown.
  const shown = (r, e) => {
    for (let at = e; at && at !== top && at !== document.body; at = at.parentElement) {
      const s = getComputedStyle(at)
      if (s.overflowX !== 'visible') r = within(r, at.getBoundingClientRect())
    }
    return r
  }
  const boxesOf = e => {
    if (controls.includes(e.tagName) || whole.includes(e.tagName) || e.getAttribute('role') === 'img') return [...e.getClientRects()]
    return texts(e).flatMap(n => {
      const range = document.createRange()
      range.selectNodeContents(n)
      return [...range.getClientRects()]
    })
  }
  const around = boxes => ({
    left: Math.min(...boxes.map(b => b.left)), right: Math.max(...boxes.map(b => b.right)),
    top: Math.min(...boxes.map(b => b.top)), bottom: Math.max(...boxes.map(b => b.bottom)),
  })
  const place = (r, from) => [r.left - from.left, r.top - from.top, r.right - r.left, r.bottom - r.top].map(Math.round)

  const lines = []
  const items = []
  const add = (e, depth, from) => {
    const what = `${'  '.repeat(depth)}${[roleOf(e), JSON.stringify(short(nameOf(e))), ...states(e)].join(' ')}`
    const boxes = boxesOf(e).map(b => shown(b, e)).filter(some)
    const page = around(boxes)
    if (boxes.length === 0 || page.bottom <= 0 || getComputedStyle(e).clipPath !== 'none' || e.closest('.unseen')) {
      lines.push({ what: `${what} unseen` })
      return
    }
    const style = getComputedStyle(e, e.placeholder && !e.value ? '::placeholder' : null)
    const [on, plain] = [behind(e), texts(e).length > 0 || 'value' in e]
    const ink = plain ? over(parse(style.color), on) : []
    const own = parse(getComputedStyle(e).backgroundColor)
    lines.push({ what, box: place(page, from), ink: plain ? hex(ink) : '', on: plain || own[3] > 0 ? hex(on) : '' })
    // The parts of the band are as long as their times; the table below it has the same links.
    if (e.closest('.band')) return
    items.push({ e, what: what.trim(), boxes, page, target: controls.includes(e.tagName) })
    if (plain && contrast(ink, on) < 4.5) faults.push(`${what.trim()}: a contrast of ${contrast(ink, on).toFixed(2)}, want 4.5`)
    if (page.left < -0.5 || page.right > innerWidth + 0.5) faults.push(`${what.trim()}: from ${page.left.toFixed()} to ${page.right.toFixed()}, beyond the window`)
  }
  const walk = (e, depth, from) => {
    for (const child of e.children) {
      const tag = child.tagName
      if (['SCRIPT', 'STYLE', 'OPTION', 'TEMPLATE', 'NOSCRIPT'].includes(tag) || !child.checkVisibility({ visibilityProperty: true })) continue
      const role = child.getAttribute('role')
      const region = regions[tag] ?? (['group', 'search', 'region'].includes(role) && role)
      const style = getComputedStyle(child)
      if (!whole.includes(tag) && ['hidden', 'clip'].includes(style.overflowX) && style.textOverflow !== 'ellipsis' && !child.closest('.unseen') && child.scrollWidth > child.clientWidth + 1 && child.clientWidth > 1) {
        faults.push(`${child.className || tag}: ${child.scrollWidth - child.clientWidth} pixels of it are cut off`)
      }
      if (role === 'img' || whole.includes(tag)) {
        if (!child.closest('[aria-hidden=true]')) add(child, depth, from)
        continue
      }
      if (region) {
        const box = child.getBoundingClientRect()
        lines.push({ what: `${'  '.repeat(depth)}${region} ${said(child) && JSON.stringify(said(child))}`.trimEnd(), box: child.closest('.unseen') ? undefined : place(box, from) })
        if (texts(child).length > 0) add(child, depth + 1, box)
        walk(child, depth + 1, box)
        continue
      }
      if (controls.includes(tag) || texts(child).length > 0) add(child, depth, from)
      walk(child, depth, from)
    }
  }
  walk(top, 0, { left: 0, top: 0 })

  // Nothing lies on another thing.
  const related = (a, b) => a.e.contains(b.e) || b.e.contains(a.e)
  items.forEach((a, i) => {
    for (const b of items.slice(i + 1)) {
      if (related(a, b) || !some(within(a.page, b.page))) continue
      if (a.boxes.some(p => b.boxes.some(q => some(within(p, q))))) faults.push(`${a.what} lies on ${b.what}`)
    }
  })
  // WCAG 2.2, 2.5.8: 24 pixels each way, or nothing else within 12 of its centre, or within a sentence.
  const targets = items.filter(i => i.target && !i.e.disabled).map(i => ({ ...i, page: around([i.page, ...[...(i.e.labels ?? [])].map(l => l.getBoundingClientRect())]) }))
  const small = r => Math.min(r.right - r.left, r.bottom - r.top) < 23.5
  const far = (x, y, r) => Math.hypot(Math.max(r.left - x, 0, x - r.right), Math.max(r.top - y, 0, y - r.bottom))
  for (const a of targets.filter(i => small(i.page))) {
    if (getComputedStyle(a.e).display === 'inline' && texts(a.e.parentElement).length > 0) continue
    const [x, y] = [(a.page.left + a.page.right) / 2, (a.page.top + a.page.bottom) / 2]
    const near = targets.find(b => b.e !== a.e && !related(a, b) && far(x, y, b.page) < 12)
    if (near) faults.push(`${a.what}: ${(a.page.right - a.page.left).toFixed()} by ${(a.page.bottom - a.page.top).toFixed()} pixels, and ${near.what} beside it`)
  }
  // The letters are those of the font that has been given.
  const odd = lines.map(l => l.what).join('').match(/[^\x20-\x7e\xa0-\u017f\u2000-\u206f\u2190-\u2193\u2713]/)
  if (odd) faults.push(`the font of the test lacks ${odd[0]}`)
  const root = [...document.styleSheets].flatMap(s => [...s.cssRules]).find(r => r.selectorText === ':root')
  const palette = Object.fromEntries([...root.style].filter(n => n.startsWith('--')).map(n => [n.slice(2), root.style.getPropertyValue(n).trim()]))
  return { lines, faults, palette }
})()
