<?php

// Plays a route of docs/clients/laravel/AuthController.php, with stand-ins for Laravel and jwt-auth.

declare(strict_types=1);

use App\Http\Controllers\AuthController;
use App\Services\Curfew;
use Illuminate\Http\Request;

require __DIR__.'/laravel.php';
require __DIR__.'/AuthController.php';

/** The route, the state of the token for jwt-auth, and Curfew's answer, with a blank between them. */
function routed(string $scene): array
{
    [$route, $state, $answer] = explode(' ', $scene);
    Guard::$current = $guard = new Guard($state);
    $sent = 0;
    $send = function () use ($answer, &$sent): array {
        $sent++;
        return match ($answer) {
            'done' => [200, null, '{"message":"Successfully Logged Out."}'],
            'registered' => [200, null, '{"registered":1,"known":0,"revoked":0}'],
            'refused' => [401, null, '{"code":"token_expired"}'],
            'away' => [503, '30', '{"code":"unavailable"}'],
        };
    };
    $controller = new AuthController(new Curfew('http://edge', 'http://internal', 'secret', 'app', 'key', send: $send));
    try {
        $response = $controller->$route(new Request());
        $told = ['status' => 200, 'body' => $response->body, 'deletesCookie' => $response->deletesCookie];
    } catch (Aborted $aborted) {
        $told = ['status' => $aborted->status, 'why' => $aborted->getMessage(), 'headers' => $aborted->headers];
    }
    $after = ['ended' => $guard->hasEnded, 'sent' => $sent, 'reported' => $guard->reported];
    return $told + $after + ($route === 'refresh' ? [] : ['refreshFlow' => $guard->isRefreshFlow]);
}
