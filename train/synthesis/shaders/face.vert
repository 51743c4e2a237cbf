#version 330
uniform mat4 projection;
uniform mat3 turn;
uniform vec3 shift;
in vec3 position;
in vec3 normal;
in vec2 texture_at;
in vec3 rest;
out vec3 v_view;
out vec3 v_normal;
out vec2 v_texture;
out vec3 v_rest;

void main() {
    v_view = turn * position + shift;
    v_normal = turn * normal;
    v_texture = texture_at;
    v_rest = rest;
    gl_Position = projection * vec4(v_view, 1.0);
}
