// The map's points on the graphics card: a small WebGL 2 layer, since the known ones need `eval`.

export interface Points {
  count: number;
  x: Float32Array<ArrayBuffer>;
  y: Float32Array<ArrayBuffer>;
  domain: Uint16Array<ArrayBuffer>; // 65535: none
  rarity: Uint8Array<ArrayBuffer>; // 255: the rarest
}

export interface Camera {
  x: number; // what lies in the middle, in the map's own units
  y: number;
  scale: number; // pixels a unit
}

export interface Look {
  dark: boolean;
  tail: boolean; // the long tail stands out
  lit: boolean; // what is lit stands out
}

/** The arrays of GET /v1/map/points. */
export function parse(data: ArrayBuffer, count: number): Points {
  return {
    count,
    x: new Float32Array(data, 0, count),
    y: new Float32Array(data, 4 * count, count),
    domain: new Uint16Array(data, 8 * count, count),
    rarity: new Uint8Array(data, 10 * count, count),
  };
}

const VERTEX = `#version 300 es
in float x; in float y; in float domain; in float rarity; in float lit;
uniform vec2 middle; uniform vec2 half_size; uniform float scale; uniform float ratio;
uniform bool dark; uniform bool tail; uniform bool some_lit;
out vec4 tint;
vec3 hue(float h) { return clamp(abs(mod(h * 6.0 + vec3(0, 4, 2), 6.0) - 3.0) - 1.0, 0.0, 1.0); }
void main() {
  gl_Position = vec4((vec2(x, y) - middle) * scale / half_size, 0, 1);
  float known = step(domain, 65534.0);
  vec3 base = dark ? vec3(0.62) : vec3(0.42);
  vec3 own = mix(base, mix(base, hue(fract(domain * 0.61803)), 0.75), known);
  own = dark ? own * 1.15 : own * 0.78;
  float size = 2.5 + 5.0 * (1.0 - rarity) + clamp(scale / 900.0, 0.0, 5.0);
  float alpha = 0.75;
  if (tail) { alpha = rarity > 0.5 ? 0.9 : 0.18; }
  if (some_lit) { alpha = lit > 0.5 ? 1.0 : 0.16; size += lit > 0.5 ? 5.0 : 0.0; }
  if (isnan(x)) { size = 0.0; gl_Position = vec4(2, 2, 2, 1); }
  gl_PointSize = size * ratio;
  tint = vec4(own, alpha);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 tint; out vec4 colour;
void main() {
  float far = length(gl_PointCoord - 0.5);
  if (far > 0.5) discard;
  colour = vec4(tint.rgb * tint.a, tint.a);
}`;

export class PointLayer {
  private readonly gl: WebGL2RenderingContext;
  private readonly program: WebGLProgram;
  private readonly lit: WebGLBuffer;
  private readonly names = new Map<string, WebGLUniformLocation | null>();

  /** `null` where the browser has no WebGL 2. */
  static on(canvas: HTMLCanvasElement, points: Points): PointLayer | null {
    const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
    return gl && new PointLayer(gl, points);
  }

  private constructor(gl: WebGL2RenderingContext, private readonly points: Points) {
    this.gl = gl;
    this.program = gl.createProgram()!;
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.program) ?? "no program");
    gl.useProgram(this.program);
    this.attribute("x", points.x, gl.FLOAT, false);
    this.attribute("y", points.y, gl.FLOAT, false);
    this.attribute("domain", points.domain, gl.UNSIGNED_SHORT, false);
    this.attribute("rarity", points.rarity, gl.UNSIGNED_BYTE, true);
    this.lit = this.attribute("lit", new Uint8Array(points.count), gl.UNSIGNED_BYTE, false);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  /** Which rows stand out. */
  light(rows: number[]): void {
    const flags = new Uint8Array(this.points.count);
    for (const row of rows) flags[row] = 1;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.lit);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, flags, this.gl.DYNAMIC_DRAW);
  }

  draw(camera: Camera, look: Look): void {
    const { gl } = this;
    const canvas = gl.canvas as HTMLCanvasElement;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.uniform("middle"), camera.x, camera.y);
    gl.uniform2f(this.uniform("half_size"), canvas.clientWidth / 2, canvas.clientHeight / 2);
    gl.uniform1f(this.uniform("scale"), camera.scale);
    gl.uniform1f(this.uniform("ratio"), ratio);
    gl.uniform1i(this.uniform("dark"), Number(look.dark));
    gl.uniform1i(this.uniform("tail"), Number(look.tail));
    gl.uniform1i(this.uniform("some_lit"), Number(look.lit));
    gl.drawArrays(gl.POINTS, 0, this.points.count);
  }

  private attribute(name: string, data: ArrayBufferView<ArrayBuffer>, type: number, share: boolean): WebGLBuffer {
    const { gl } = this;
    const buffer = gl.createBuffer()!;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    const at = gl.getAttribLocation(this.program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 1, type, share, 0, 0);
    return buffer;
  }

  private uniform(name: string): WebGLUniformLocation | null {
    if (!this.names.has(name)) this.names.set(name, this.gl.getUniformLocation(this.program, name));
    return this.names.get(name)!;
  }
}

/** Which point lies nearest to a place, by a grid of cells. */
export class Nearest {
  private readonly cells = new Map<number, number[]>();

  constructor(private readonly points: Points, private readonly side = 0.01) {
    for (let row = 0; row < points.count; row += 1) {
      if (Number.isNaN(points.x[row])) continue;
      const cell = this.cell(points.x[row]!, points.y[row]!);
      const own = this.cells.get(cell);
      if (own) own.push(row);
      else this.cells.set(cell, [row]);
    }
  }

  /** The row within `reach` of a place, or null. */
  at(x: number, y: number, reach: number): number | null {
    let [best, nearest] = [null as number | null, reach * reach];
    const steps = Math.min(Math.ceil(reach / this.side), 40);
    for (let i = -steps; i <= steps; i += 1) {
      for (let j = -steps; j <= steps; j += 1) {
        for (const row of this.cells.get(this.cell(x + i * this.side, y + j * this.side)) ?? []) {
          const far = (this.points.x[row]! - x) ** 2 + (this.points.y[row]! - y) ** 2;
          if (far < nearest) [best, nearest] = [row, far];
        }
      }
    }
    return best;
  }

  private cell(x: number, y: number): number {
    return Math.floor((x + 2) / this.side) * 65536 + Math.floor((y + 2) / this.side);
  }
}
