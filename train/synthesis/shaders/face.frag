#version 330
// material: 0 skin, 1 eye, 2 teeth, 3 tongue, 4 hair, brows and lashes (texture with alpha), 5 plain, 6 drawn lashes
uniform int material;
uniform sampler2D albedo;
uniform sampler2D lip_mask;
uniform sampler2D detail;  // slope across, slope up, shade of folds, cover of hair
uniform sampler2D tone;    // half of a multiplier
uniform sampler2DShadow shadow;
uniform bool textured;
uniform vec3 tint;
uniform float cover;
uniform vec3 lip_tint;
uniform vec3 brow_colour;
uniform vec3 beard_colour;
uniform vec3 cap_colour;
uniform float cap;  // 0: no drawn hair on the scalp
const int HAIRLINE = 8;
uniform vec2 hairline[HAIRLINE];  // depth and height, as in looks.py
uniform mat3 turn;
uniform vec3 centre;
uniform mat3 to_light;
uniform float reach;
uniform float shade;  // how dark the key light's shadow is
const int LIGHTS = 4;
uniform int lights;
uniform vec3 light_direction[LIGHTS];
uniform vec3 light_colour[LIGHTS];
uniform vec3 sky_colour;
uniform vec3 ground_colour;
uniform float gloss;
uniform vec3 iris_colour;
// The chart of chart.py.
uniform float axis_z;
uniform float angle_range;
uniform vec2 height_range;
uniform float slope_range;
in vec3 v_view;
in vec3 v_normal;
in vec2 v_texture;
in vec3 v_rest;
out vec4 colour;

float hash(vec2 p) {
    p = fract(p * vec2(123.34, 456.21));
    p += dot(p, p + 45.32);
    return fract(p.x * p.y);
}

float noise(vec2 p) {
    vec2 i = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    return mix(mix(hash(i), hash(i + vec2(1, 0)), f.x), mix(hash(i + vec2(0, 1)), hash(i + vec2(1, 1)), f.x), f.y);
}

float lit_by_key(vec3 n) {
    vec3 place = to_light * (v_view - centre + 0.02 * n) / reach;
    vec3 at = vec3(place.xy, -place.z) * 0.5 + 0.5;
    at.z -= 0.004;
    float sum = 0.0;
    for (int i = 0; i < 4; ++i) {
        vec2 off = (vec2(i & 1, i >> 1) - 0.5) * 0.006;
        sum += texture(shadow, vec3(at.xy + off, at.z));
    }
    return 1.0 - shade * (1.0 - 0.25 * sum);
}

vec3 lit(vec3 base, vec3 n, float shine) {
    vec3 to_eye = normalize(-v_view);
    vec3 ambient = mix(ground_colour, sky_colour, n.y * 0.5 + 0.5);
    vec3 sum = base * ambient;
    float sharp = material == 1 ? 160.0 : material == 5 ? 60.0 : 22.0;
    float key = lit_by_key(n);
    for (int i = 0; i < lights; ++i) {
        vec3 towards = light_direction[i];
        float direct = max((dot(n, towards) + 0.18) / 1.18, 0.0);
        // Light that has gone through skin is red.
        vec3 soft = material == 0 ? vec3(1.0, 0.93, 0.90) + vec3(0.10, 0.0, -0.02) * (1.0 - direct) : vec3(1.0);
        float spark = pow(max(dot(n, normalize(towards + to_eye)), 0.0), sharp) * shine;
        sum += (base * direct * soft + spark) * light_colour[i] * (i == 0 ? key : 1.0);
    }
    return sum + pow(1.0 - max(dot(n, to_eye), 0.0), 4.0) * 0.10 * shine * sky_colour;
}

// How far above the hairline of a drawn head of hair, decimetres.
float above_hairline(vec3 p) {
    float line = hairline[0].y;
    for (int i = 0; i < HAIRLINE - 1; ++i) {
        vec2 a = hairline[i], b = hairline[i + 1];
        line = mix(line, mix(a.y, b.y, clamp((p.z - a.x) / (b.x - a.x), 0.0, 1.0)), step(a.x, p.z));
    }
    if (abs(p.x) > 0.79 && p.y < 7.5) return -1.0;
    return p.y - line;
}

void skin(inout vec3 base, inout vec3 n, inout float shine) {
    float angle = atan(v_rest.x, v_rest.z - axis_z);
    vec2 at = vec2(angle / (2.0 * angle_range) + 0.5, (height_range.y - v_rest.y) / (height_range.y - height_range.x));
    bool front = v_rest.z > 0.3 && all(greaterThan(at, vec2(0.01))) && all(lessThan(at, vec2(0.99)));
    if (front) {
        vec4 texel = texture(detail, at);
        vec2 slope = (texel.rg - 128.0 / 255.0) * (255.0 / 127.0) * slope_range;
        base *= texture(tone, at).rgb * 2.0;
        base *= mix(vec3(1.0), vec3(0.50, 0.36, 0.32), texel.b);
        vec3 hair = v_rest.y > 7.2 ? brow_colour : beard_colour;
        base = mix(base, hair, texel.a);
        shine *= 1.0 - 0.7 * texel.a;
        vec3 across = vec3(cos(angle), 0.0, -sin(angle));
        n = normalize(n - turn * (slope.x * across + slope.y * vec3(0.0, 1.0, 0.0)));
    }
    if (cap > 0.0) {
        float strand = noise(vec2(atan(v_rest.x, v_rest.z) * 46.0, v_rest.y * 7.0));
        float over = above_hairline(v_rest) + (strand - 0.5) * 0.09;
        float grown = smoothstep(0.0, 0.07, over) * cap;
        base = mix(base, cap_colour * (0.45 + 1.1 * strand), grown);
        shine = mix(shine, 0.25 * strand, grown);
        n = normalize(n + turn * vec3((strand - 0.5) * 0.5 * grown, 0.0, 0.0));
    }
}

void main() {
    vec3 n = normalize(v_normal);
    vec4 picture = texture(albedo, v_texture);
    float alpha = cover;
    vec3 base = tint;
    float shine = gloss;
    if (material == 0) {
        base = textured ? picture.rgb * tint : tint;
        float lips = texture(lip_mask, v_texture).r;
        base = mix(base, base * lip_tint, lips);
        bool inside = v_rest.z < 1.30 && abs(v_rest.x) < 0.3 && v_rest.y > 6.33 && v_rest.y < 6.86 && v_rest.z > 0.5;
        if (inside) {
            base = vec3(0.35, 0.12, 0.1) * smoothstep(0.8, 1.35, v_rest.z) * 0.5;
            shine = 0.0;
        } else {
            skin(base, n, shine);
            shine *= 1.0 + 1.2 * lips;
        }
    } else if (material == 1) {
        vec3 out_of = normalize(v_rest);
        float angle = acos(clamp(out_of.z, -1.0, 1.0));
        float turned = atan(out_of.y, out_of.x);
        vec3 white = vec3(0.55, 0.50, 0.47) - 0.10 * noise(vec2(turned * 9.0, angle * 14.0)) * vec3(0.3, 1.0, 1.0);
        white *= mix(vec3(1.0), vec3(0.85, 0.62, 0.58), smoothstep(0.75, 1.1, angle));
        float ray = noise(vec2(turned * 24.0, angle * 5.0));
        vec3 iris = iris_colour * (0.5 + 0.8 * ray) * mix(1.3, 0.7, smoothstep(0.2, 0.42, angle));
        iris *= mix(1.0, 0.25, smoothstep(0.42, 0.50, angle));  // limbal ring
        base = mix(iris, white, smoothstep(0.47, 0.54, angle));
        base = mix(vec3(0.012), base, smoothstep(0.17, 0.21, angle));
        base *= 0.45 + 0.55 * smoothstep(0.75, 0.1, abs(n.y + 0.1));  // the lids shade the ball
        shine = 1.1;
    } else if (material == 2) {
        float lines = smoothstep(0.0, 0.22, abs(fract(v_rest.x * 11.0) - 0.5));
        float gum = smoothstep(0.0, 0.04, abs(v_rest.y - 6.655) - 0.105);
        base = mix(vec3(0.80, 0.76, 0.68) * (0.72 + 0.28 * lines), vec3(0.55, 0.25, 0.23), gum);
        base *= smoothstep(0.95, 1.50, v_rest.z) * tint * (1.0 - 0.5 * smoothstep(0.15, 0.34, abs(v_rest.x)));
        shine = 0.30;
    } else if (material == 3) {
        base = vec3(0.55, 0.22, 0.21) * smoothstep(0.5, 1.40, v_rest.z) * (0.8 + 0.3 * noise(v_rest.xz * 40.0));
        shine = 0.20;
    } else if (material == 4) {
        alpha = picture.a;
        if (alpha < 0.15) discard;
        float level = dot(picture.rgb, vec3(0.35, 0.45, 0.2));
        base = tint * (0.35 + 1.6 * level);
        if (dot(n, v_view) > 0.0) n = -n;
        shine *= 0.4;
    } else if (material == 6) {
        alpha = cover * smoothstep(0.35, 0.75, noise(vec2(v_rest.x * 260.0, 0.5)));
        shine = 0.0;
    } else if (dot(n, v_view) > 0.0) {
        n = -n;
    }
    vec3 light = lit(base, n, shine);
    light = light / (1.0 + 0.35 * light * light);  // roll the highlights off
    colour = vec4(pow(clamp(light, 0.0, 1.0), vec3(1.0 / 2.2)) * alpha, alpha);
}
