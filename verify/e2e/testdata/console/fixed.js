// Before the page begins: a clock that stands still, and a way to wait for the page.
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
    for (const font of document.fonts) if (font.status !== 'loaded') throw new Error(`the font is ${font.status}`)
    for (let before = -1; underWay > 0 || before !== begun; ) {
      before = begun
      await turn()
      for (let i = 0; i < 4; i++) await frame()
      await turn()
    }
    return true
  }
})()
